package discovery_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/etcdkit/etcdkit/discovery"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/mirror"
)

// counted is a client that counts what it dials and the requests and watches that it sends.
type counted struct {
	*clientv3.Client
	dials, calls, watches atomic.Int64
}

func countedClient(t testing.TB, endpoint string) *counted {
	t.Helper()
	c := new(counted)
	cli, err := clientv3.New(clientv3.Config{
		Endpoints: []string{endpoint}, Logger: zap.NewNop(),
		DialOptions: []grpc.DialOption{
			grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
				c.dials.Add(1)
				return new(net.Dialer).DialContext(ctx, "tcp", addr)
			}),
			grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
				c.calls.Add(1)
				return invoke(ctx, method, req, reply, cc, opts...)
			}),
			grpc.WithChainStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
				c.watches.Add(1)
				return open(ctx, desc, cc, method, opts...)
			}),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cli.Close() })
	c.Client = cli
	return c
}

func TestViewsOfAServiceShareOneWatchAndItsConfirmations(t *testing.T) {
	t.Parallel()
	shared, prefix := etcdtest.New(t)
	put(t, shared, prefix+"web/a", "h:1")
	cli := countedClient(t, shared.Endpoints()[0])
	views := make([]*discovery.View, 200)
	for i := range views {
		v, err := discovery.Open(bounded(t), cli.Client, "web", &discovery.Options{Prefix: prefix, Policy: discovery.Policy(i % 3)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { v.Close() })
		views[i] = v
	}
	const seconds = 4
	before := cli.calls.Load()
	<-time.After(seconds * time.Second) // the time that is measured
	if n := cli.calls.Load() - before; n > seconds/2+1 || cli.watches.Load() != 1 {
		t.Errorf("%d views made %d requests in %d s and opened %d watches, want one every 2 s, and 1", len(views), n, seconds, cli.watches.Load())
	}
	views[0].Close()
	put(t, shared, prefix+"web/b", "h:2")
	for _, v := range views[1:] {
		until(t, v, "a b")
	}
	if got := ids(views[0].Instances()); got != "a" {
		t.Errorf("the view that was closed has %q, want what it was", got)
	}
}

func TestAnOutageCostsAClientTwoDialsASecondHoweverManyViews(t *testing.T) {
	t.Parallel()
	shared, prefix := etcdtest.New(t)
	g := etcdtest.NewGate(t, shared.Endpoints()[0])
	cli := countedClient(t, g.Addr())
	for n := range 50 {
		v, err := discovery.Open(bounded(t), cli.Client, fmt.Sprint("web-", n), &discovery.Options{Prefix: prefix})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { v.Close() })
	}
	g.SetTarget("")
	<-time.After(3 * time.Second) // the first tries, and every view has noticed
	const seconds = 6
	before := cli.dials.Load()
	<-time.After(seconds * time.Second) // the time that is measured
	if n := cli.dials.Load() - before; n > 2*seconds+1 {
		t.Errorf("50 views dialled %d times in %d s, want at most two a second", n, seconds)
	}
}

func TestAClosedClientEndsViewsAtOnce(t *testing.T) {
	shared, prefix := etcdtest.New(t)
	put(t, shared, prefix+"web/a", "h:1")
	dir := t.TempDir()
	g := etcdtest.NewGate(t, shared.Endpoints()[0])
	cli := countedClient(t, g.Addr())
	opts := &discovery.Options{Prefix: prefix, Dir: dir}
	v, err := discovery.Open(bounded(t), cli.Client, "web", opts)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Close(); err != nil { // it saves its list
		t.Fatal(err)
	}
	live, err := discovery.Open(bounded(t), cli.Client, "web", opts)
	if err != nil {
		t.Fatal(err)
	}
	watched := make(chan error, 1)
	first := make(chan struct{}, 1)
	go func() {
		for _, err := range discovery.Watch(t.Context(), cli.Client, "web", opts) {
			if err != nil {
				watched <- err
				return
			}
			first <- struct{}{}
		}
	}()
	<-first
	g.SetTarget("")
	away := countedClient(t, g.Addr())
	saved, err := discovery.Open(bounded(t), away.Client, "web", opts) // which etcd does not confirm
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	cli.Close()
	away.Close()
	for what, v := range map[string]*discovery.View{"a view": live, "a view of a saved list": saved} {
		select {
		case <-v.Done():
		case <-time.After(within):
			t.Fatalf("%s goes on", what)
		}
		if err := v.Err(); !errors.Is(err, mirror.ErrClosed) || !strings.Contains(err.Error(), "the etcd client was closed") {
			t.Errorf("%s: got %v, want ErrClosed, because of the client", what, err)
		}
		if err := v.Close(); err != nil {
			t.Errorf("Close of %s: %v", what, err)
		}
	}
	if err := <-watched; !errors.Is(err, mirror.ErrClosed) {
		t.Errorf("Watch: got %v, want ErrClosed", err)
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("they ended after %v, want at once", took)
	}
	if _, err := discovery.Open(bounded(t), cli.Client, "web", &discovery.Options{Prefix: prefix}); !errors.Is(err, mirror.ErrClosed) {
		t.Errorf("Open: got %v, want ErrClosed", err)
	}
}

package ask_test

import (
	"context"
	"errors"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/etcdkit/etcdkit/internal/ask"
)

func TestAClientHasOneStateUntilItIsClosed(t *testing.T) {
	_, addrs := doors(t, leads)
	cli, other := plain(t, addrs...), plain(t, addrs...)
	c := ask.Of(cli)
	if ask.Of(cli) != c || ask.Of(other) == c {
		t.Fatal("want one state for each client")
	}
	ctx, cancel := c.WhileOpen(t.Context())
	defer cancel()
	if c.Err() != nil || ctx.Err() != nil {
		t.Fatalf("of an open client: %v, %v", c.Err(), ctx.Err())
	}
	cli.Close()
	<-ctx.Done()
	<-c.Done()
	if !errors.Is(context.Cause(ctx), ask.ErrClosed) || !errors.Is(c.Err(), ask.ErrClosed) {
		t.Errorf("of a closed client: %v, %v; want ErrClosed", context.Cause(ctx), c.Err())
	}
	if err := c.Await(t.Context()); !errors.Is(err, ask.ErrClosed) {
		t.Errorf("Await: got %v, want ErrClosed", err)
	}
	if err := c.Backoff(time.Minute, time.Hour).WaitAtLeast(t.Context(), time.Hour); !errors.Is(err, ask.ErrClosed) {
		t.Errorf("Wait: got %v, want ErrClosed", err)
	}
	if _, _, err := c.Conn(addrs[0]); !errors.Is(err, ask.ErrClosed) {
		t.Errorf("Conn: got %v, want ErrClosed", err)
	}
	if err := c.Explain(context.DeadlineExceeded); !errors.Is(err, ask.ErrClosed) {
		t.Errorf("Explain: got %v, want ErrClosed in it", err)
	}
	if err := ask.Of(cli).Err(); !errors.Is(err, ask.ErrClosed) {
		t.Errorf("the state of a closed client: got %v, want ErrClosed", err)
	}
}

func TestAClosedClientLeavesNoConnectionsToEndpoints(t *testing.T) {
	all, addrs := doors(t, leads)
	cli := plain(t, addrs...)
	cc, release, err := ask.Of(cli).Conn(addrs[0])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pb.NewKVClient(cc).Range(bounded(t, generous), &pb.RangeRequest{Key: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	if all[0].accepted.Load() == 0 {
		t.Fatal("the connection goes elsewhere")
	}
	cli.Close()
	until(t, "calls on the connection fail", func() bool {
		_, err := pb.NewKVClient(cc).Range(t.Context(), &pb.RangeRequest{Key: []byte("x")})
		return err != nil
	})
	release()
}

func TestAConnectionToAnEndpointIsSharedAndClosedByTheLast(t *testing.T) {
	all, addrs := doors(t, leads)
	c := ask.Of(plain(t, addrs...))
	before := all[2].accepted.Load()
	var releases []func()
	for range 100 {
		cc, release, err := c.Conn(addrs[2])
		if err != nil {
			t.Fatal(err)
		}
		releases = append(releases, release)
		if _, err := pb.NewKVClient(cc).Range(bounded(t, generous), &pb.RangeRequest{Key: []byte("x")}); err != nil {
			t.Fatal(err)
		}
	}
	if n := all[2].accepted.Load() - before; n != 1 {
		t.Errorf("100 users of one endpoint: %d connections, want 1", n)
	}
	for _, release := range releases {
		release()
		release() // twice is once
	}
	_, release, err := c.Conn(addrs[2])
	if err != nil {
		t.Fatal(err)
	}
	release()
}

package ask_test

import (
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/internal/ask"
	"github.com/etcdkit/etcdkit/internal/means"
)

func TestMain(m *testing.M) {
	means.TestsAtATime(4)
	goleak.VerifyTestMain(etcdtest.Main(m))
}

// generous bounds what should take a moment, on a machine that does much else.
const generous = 30 * time.Second

// door is an address that counts who comes, and leads to a member, closes each connection at once,
// or keeps it and says nothing.
type door struct {
	l        net.Listener
	target   string
	accepted atomic.Int64
	mode     atomic.Int32
	wg       sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]bool
}

const (
	leads int32 = iota
	closes
	silent
)

func newDoor(tb testing.TB, target string, mode int32) *door {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	d := &door{l: l, target: target, conns: make(map[net.Conn]bool)}
	d.mode.Store(mode)
	d.wg.Go(d.serve)
	tb.Cleanup(func() {
		l.Close()
		d.drop()
		d.wg.Wait()
	})
	return d
}

func (d *door) addr() string { return d.l.Addr().String() }

// become changes what the door does, and ends the connections that it has.
func (d *door) become(mode int32) {
	d.mode.Store(mode)
	d.drop()
}

func (d *door) drop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for c := range d.conns {
		c.Close()
	}
	clear(d.conns)
}

func (d *door) keep(conns ...net.Conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range conns {
		d.conns[c] = true
	}
}

func (d *door) serve() {
	for {
		in, err := d.l.Accept()
		if err != nil {
			return
		}
		d.accepted.Add(1)
		switch d.mode.Load() {
		case closes:
			in.Close()
		case silent:
			d.keep(in)
		default:
			out, err := net.Dial("tcp", d.target)
			if err != nil {
				in.Close()
				continue
			}
			d.keep(in, out)
			if d.mode.Load() != leads { // it has become so meanwhile, and drop may not have seen these
				in.Close()
				out.Close()
			}
			d.wg.Go(func() { _, _ = io.Copy(in, out); in.Close(); out.Close() })
			d.wg.Go(func() { _, _ = io.Copy(out, in); in.Close(); out.Close() })
		}
	}
}

// doors are three that lead to the shared server.
func doors(tb testing.TB, mode int32) (all []*door, addrs []string) {
	tb.Helper()
	cli, _ := etcdtest.New(tb)
	for range 3 {
		d := newDoor(tb, cli.Endpoints()[0], mode)
		all = append(all, d)
		addrs = append(addrs, d.addr())
	}
	return all, addrs
}

func count(all []*door) (n int64) {
	for _, d := range all {
		n += d.accepted.Load()
	}
	return n
}

// paced is a client like client.Dial's, plain one like clientv3.New's.
func paced(tb testing.TB, endpoints ...string) *clientv3.Client {
	tb.Helper()
	return pacedBy(tb, new(ask.Dialer), endpoints...)
}

func pacedBy(tb testing.TB, d *ask.Dialer, endpoints ...string) *clientv3.Client {
	tb.Helper()
	cli := newClient(tb, endpoints, grpc.WithContextDialer(d.Dial), grpc.WithConnectParams(grpc.ConnectParams{
		Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 2 * time.Second},
		MinConnectTimeout: 3 * time.Second,
	}))
	d.Adopt(cli)
	return cli
}

func plain(tb testing.TB, endpoints ...string) *clientv3.Client {
	tb.Helper()
	return newClient(tb, endpoints)
}

// reached is a client through doors, paced or plain, that has reached etcd.
func reached(tb testing.TB, client func(testing.TB, ...string) *clientv3.Client) (all []*door, cli *clientv3.Client, c *ask.Client) {
	tb.Helper()
	all, addrs := doors(tb, leads)
	cli = client(tb, addrs...)
	if _, err := cli.Get(bounded(tb, generous), "x"); err != nil {
		tb.Fatal(err)
	}
	return all, cli, ask.Of(cli)
}

func newClient(tb testing.TB, endpoints []string, opts ...grpc.DialOption) *clientv3.Client {
	tb.Helper()
	cli, err := clientv3.New(clientv3.Config{Endpoints: endpoints, Logger: zap.NewNop(), DialOptions: opts})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { cli.Close() })
	return cli
}

// until waits for what must come.
func until(tb testing.TB, what string, f func() bool) {
	tb.Helper()
	for end := time.Now().Add(generous); !f(); {
		if time.Now().After(end) {
			tb.Fatalf("%s: not within %v", what, generous)
		}
		<-time.After(5 * time.Millisecond)
	}
}

func bounded(tb testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(tb.Context(), d)
	tb.Cleanup(cancel)
	return ctx
}

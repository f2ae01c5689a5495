package mirror_test

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
)

// gate stands between a client and a member, can be shut, and can lead to another member.
type gate struct {
	l  net.Listener
	wg sync.WaitGroup

	mu     sync.Mutex
	target string // "": shut
	conns  map[net.Conn]struct{}
}

func newGate(t testing.TB, target string) *gate {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{l: l, target: target, conns: make(map[net.Conn]struct{})}
	g.wg.Go(g.serve)
	t.Cleanup(func() {
		l.Close()
		g.lead("")
		g.wg.Wait()
	})
	return g
}

func (g *gate) serve() {
	for {
		in, err := g.l.Accept()
		if err != nil {
			return
		}
		g.mu.Lock()
		target := g.target
		g.mu.Unlock()
		out, err := net.Dial("tcp", target)
		if target == "" || err != nil {
			in.Close()
			continue
		}
		g.mu.Lock()
		g.conns[in], g.conns[out] = struct{}{}, struct{}{}
		if g.target != target {
			in.Close()
			out.Close()
		}
		g.mu.Unlock()
		for _, pair := range [][2]net.Conn{{in, out}, {out, in}} {
			g.wg.Go(func() {
				_, _ = io.Copy(pair[0], pair[1])
				pair[0].Close()
				pair[1].Close()
				g.mu.Lock()
				delete(g.conns, pair[0])
				g.mu.Unlock()
			})
		}
	}
}

// lead resets all connections and leads new ones elsewhere; nowhere if target is empty.
func (g *gate) lead(target string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.target = target
	for c := range g.conns {
		c.Close()
	}
}

// client is one whose only endpoint is the gate.
func (g *gate) client(t testing.TB) *clientv3.Client { return quickClient(t, g.l.Addr().String()) }

// quickClient returns to members that are back without the wait that is gRPC's default.
func quickClient(t testing.TB, endpoints ...string) *clientv3.Client {
	t.Helper()
	cli, err := clientv3.New(clientv3.Config{
		Endpoints: endpoints, Logger: zap.NewNop(),
		DialOptions: []grpc.DialOption{grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 200 * time.Millisecond},
			MinConnectTimeout: 3 * time.Second,
		})},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cli.Close() })
	return cli
}

package etcdtest

import (
	"io"
	"net"
	"sync"
	"testing"
)

// Gate is a TCP proxy between a client and a member. It can be shut, and can lead to another
// member, or to another cluster.
type Gate struct {
	l  net.Listener
	wg sync.WaitGroup

	mu     sync.Mutex
	target string // "": shut
	conns  map[net.Conn]struct{}
}

// NewGate returns a gate that leads to target, host:port. It is closed when the test ends.
func NewGate(tb testing.TB, target string) *Gate {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("etcdtest: open a gate: %v", err)
	}
	g := &Gate{l: l, target: target, conns: make(map[net.Conn]struct{})}
	g.wg.Go(g.serve)
	tb.Cleanup(func() {
		l.Close()
		g.Lead("")
		g.wg.Wait()
	})
	return g
}

// Addr is where clients connect, host:port.
func (g *Gate) Addr() string { return g.l.Addr().String() }

// Lead resets all connections and leads new ones elsewhere; nowhere if target is empty.
func (g *Gate) Lead(target string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.target = target
	for c := range g.conns {
		c.Close()
	}
}

func (g *Gate) serve() {
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

package etcdtest

import (
	"io"
	"net"
	"sync"
	"testing"
)

// Gate is a TCP proxy between a client and a member. It can be shut, can lead to another member or
// another cluster, and can lose answers.
type Gate struct {
	l  net.Listener
	wg sync.WaitGroup

	mu     sync.Mutex
	target string // "": shut
	mute   bool
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

// Mute has answers lost, while requests get through. Lead ends the connections that were open
// meanwhile, as they are of no use any more.
func (g *Gate) Mute(on bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.mute = on
}

// answers go to a client, unless the gate is mute.
type answers struct {
	g  *Gate
	to net.Conn
}

func (a answers) Write(p []byte) (int, error) {
	a.g.mu.Lock()
	mute := a.g.mute
	a.g.mu.Unlock()
	if mute {
		return len(p), nil
	}
	return a.to.Write(p)
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
		for _, way := range []struct {
			to   io.Writer
			from net.Conn
		}{{out, in}, {answers{g, in}, out}} {
			g.wg.Go(func() {
				_, _ = io.Copy(way.to, way.from)
				in.Close()
				out.Close()
				g.mu.Lock()
				delete(g.conns, way.from)
				g.mu.Unlock()
			})
		}
	}
}

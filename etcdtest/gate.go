package etcdtest

import (
	"io"
	"net"
	"sync"
	"testing"
)

// Gate is a TCP proxy between a client and a member. It can be shut, can lead to another member or
// another cluster, can lose answers, and can fall silent.
type Gate struct {
	l  net.Listener
	wg sync.WaitGroup

	mu       sync.Mutex
	target   string // "": shut
	mute     bool
	silent   chan struct{} // closed when the silence ends; nil: there is none
	accepted int
	conns    map[net.Conn]struct{}
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
		g.Silence(false)
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

// Silence holds everything back both ways, as a lost network does: nothing is reset, new connections are
// accepted and hear nothing, and what was sent arrives when the silence ends.
func (g *Gate) Silence(on bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case on && g.silent == nil:
		g.silent = make(chan struct{})
	case !on && g.silent != nil:
		close(g.silent)
		g.silent = nil
	}
}

// Accepted is the number of connections that clients have made so far, also while the gate was shut.
func (g *Gate) Accepted() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.accepted
}

// passing is one direction of a connection.
type passing struct {
	g       *Gate
	to      net.Conn
	answers bool  // to the client, and lost while the gate is mute
	refused error // of the latest Write
}

func (p *passing) Write(b []byte) (_ int, err error) {
	defer func() { p.refused = err }()
	p.g.mu.Lock()
	silent := p.g.silent
	p.g.mu.Unlock()
	if silent != nil {
		<-silent // it ends with the gate
	}
	p.g.mu.Lock()
	lost := p.answers && p.g.mute
	p.g.mu.Unlock()
	if lost {
		return len(b), nil
	}
	return p.to.Write(b)
}

func (g *Gate) serve() {
	for {
		in, err := g.l.Accept()
		if err != nil {
			return
		}
		g.mu.Lock()
		g.accepted++
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
			to   *passing
			from net.Conn
		}{{&passing{g: g, to: out}, in}, {&passing{g: g, to: in, answers: true}, out}} {
			g.wg.Go(func() {
				_, _ = io.Copy(way.to, way.from)
				// A member that takes nothing more has closed the connection. What it said last, as that it
				// refuses a certificate, is still to be passed on: the other direction ends then.
				if way.to.answers || way.to.refused == nil {
					in.Close()
					out.Close()
				}
				g.mu.Lock()
				delete(g.conns, way.from)
				g.mu.Unlock()
			})
		}
	}
}

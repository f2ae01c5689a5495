package etcdtest

import (
	"io"
	"net"
	"sync"
	"testing"
)

// Gate is a TCP proxy between a client and a member. It can be shut, can lead to another member or
// another cluster, can lose answers, and can hold everything back.
type Gate struct {
	l  net.Listener
	wg sync.WaitGroup

	mu          sync.Mutex
	target      string // "": shut
	dropAnswers bool
	frozen      chan struct{} // closed by Unfreeze; nil: not frozen
	accepted    int
	conns       map[net.Conn]struct{}
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
		g.Unfreeze()
		g.SetTarget("")
		g.wg.Wait()
	})
	return g
}

// Addr is where clients connect, host:port.
func (g *Gate) Addr() string { return g.l.Addr().String() }

// SetTarget resets all connections and leads new ones elsewhere; nowhere if target is empty.
// Answers get through again.
func (g *Gate) SetTarget(target string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.target, g.dropAnswers = target, false
	for c := range g.conns {
		c.Close()
	}
}

// DropAnswers loses what the member sends from now on, until SetTarget; requests still get through.
func (g *Gate) DropAnswers() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.dropAnswers = true
}

// Freeze holds everything back both ways, as a lost network does: nothing is reset, new connections
// are accepted and get no answer, and what was sent arrives after Unfreeze.
func (g *Gate) Freeze() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.frozen == nil {
		g.frozen = make(chan struct{})
	}
}

// Unfreeze ends a Freeze. Without one it does nothing.
func (g *Gate) Unfreeze() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.frozen != nil {
		close(g.frozen)
		g.frozen = nil
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
	answers bool  // to the client, and which DropAnswers loses
	refused error // of the latest Write
}

func (p *passing) Write(b []byte) (_ int, err error) {
	defer func() { p.refused = err }()
	p.g.mu.Lock()
	frozen := p.g.frozen
	p.g.mu.Unlock()
	if frozen != nil {
		<-frozen // it ends with the gate
	}
	p.g.mu.Lock()
	lost := p.answers && p.g.dropAnswers
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

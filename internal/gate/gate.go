// Package gate is a TCP proxy in front of one server, with which a test or a measurement disturbs the network.
//
//	g, err := gate.Open(member)
//	if err != nil {
//		return err
//	}
//	defer g.Close()
//	… // a client whose endpoint is g.Addr()
//	g.SetTarget("") // all connections are closed, and new ones at once
package gate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// acceptRetry is the pause after a failed Accept.
const acceptRetry = 10 * time.Millisecond

// Gate is an open gate. Its methods may be called from any goroutine.
type Gate struct {
	listener net.Listener
	received atomic.Int64
	wg       sync.WaitGroup // accepting, and the goroutines of each connection; Close ends and awaits them
	ctx      context.Context
	end      context.CancelFunc // ends dialing

	mu          sync.Mutex
	target      string // "": shut
	dropAnswers bool
	frozen      chan struct{} // closed by Unfreeze; nil: not frozen
	accepted    int
	conns       map[net.Conn]struct{}
}

// Open opens a gate on a free loopback port that leads to target, host:port; nowhere if it is empty.
func Open(target string) (*Gate, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("open a gate: %w", err)
	}
	g := &Gate{listener: l, target: target, conns: make(map[net.Conn]struct{})}
	g.ctx, g.end = context.WithCancel(context.Background())
	g.wg.Go(g.serve)
	return g, nil
}

// Close ends the gate and its connections.
func (g *Gate) Close() error {
	err := g.listener.Close()
	g.end()
	g.Unfreeze()
	g.SetTarget("")
	g.wg.Wait()
	return err
}

// Addr is where clients connect, host:port.
func (g *Gate) Addr() string { return g.listener.Addr().String() }

// SetTarget closes all connections and leads new ones elsewhere; nowhere if target is empty.
// Answers get through again.
func (g *Gate) SetTarget(target string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.target, g.dropAnswers = target, false
	for c := range g.conns {
		c.Close()
	}
}

// DropAnswers loses what the server sends from now on, until SetTarget; requests still get through.
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

// Received is how many bytes clients have been sent so far: TCP payload. What has arrived at a client
// is counted.
func (g *Gate) Received() int64 { return g.received.Load() }

func (g *Gate) serve() {
	for {
		in, err := g.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // a connection that died in the queue, or descriptors short for a moment
			select {
			case <-time.After(acceptRetry):
			case <-g.ctx.Done():
			}
			continue
		}
		g.mu.Lock()
		g.accepted++
		target := g.target
		g.conns[in] = struct{}{}
		g.mu.Unlock()
		g.wg.Go(func() { g.open(in, target) })
	}
}

// open connects a client with the target of the moment at which it came.
func (g *Gate) open(in net.Conn, target string) {
	if target != "" {
		if out, err := new(net.Dialer).DialContext(g.ctx, "tcp", target); err == nil {
			g.connect(in, out)
			return
		}
	}
	in.Close()
	g.mu.Lock()
	delete(g.conns, in)
	g.mu.Unlock()
}

// connect copies both ways between a client and its target. If SetTarget was called meanwhile, the client's
// side is closed already, and that closes both.
func (g *Gate) connect(in, out net.Conn) {
	g.mu.Lock()
	g.conns[out] = struct{}{}
	g.mu.Unlock()
	requests, answers := &direction{gate: g, to: out}, &direction{gate: g, to: in, answers: true}
	copyAll := func(to *direction, from net.Conn) {
		_, _ = io.Copy(to, from)
		// A server that takes nothing more has closed the connection. What it sent last, as that it refuses a
		// certificate, must still get to the client: the connection ends with the answers then.
		if to.answers || to.failed == nil {
			in.Close()
			out.Close()
		}
		g.mu.Lock()
		delete(g.conns, from)
		g.mu.Unlock()
	}
	g.wg.Go(func() { copyAll(requests, in) })
	g.wg.Go(func() { copyAll(answers, out) })
}

// direction is one direction of a connection.
type direction struct {
	gate    *Gate
	to      net.Conn
	answers bool  // to the client
	failed  error // of the latest Write
}

func (d *direction) Write(b []byte) (_ int, err error) {
	defer func() { d.failed = err }()
	d.gate.mu.Lock()
	frozen := d.gate.frozen
	d.gate.mu.Unlock()
	if frozen != nil {
		<-frozen // Close closes it, too
	}
	if !d.answers {
		return d.to.Write(b)
	}
	d.gate.mu.Lock()
	lost := d.gate.dropAnswers
	d.gate.mu.Unlock()
	if lost {
		return len(b), nil
	}
	d.gate.received.Add(int64(len(b)))
	return d.to.Write(b)
}

package lab

import (
	"fmt"
	"net"
	"sync"
	"sync/atomic"
)

// Gate is a TCP proxy in front of one address. Its methods may be called from any goroutine.
type Gate struct {
	listener net.Listener
	target   string
	received atomic.Int64
	wg       sync.WaitGroup

	mu    sync.Mutex
	shut  bool
	conns map[net.Conn]struct{}
}

// OpenGate opens a gate on a free loopback port that leads to target, host:port.
func OpenGate(target string) (*Gate, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("lab: open a gate: %w", err)
	}
	g := &Gate{listener: l, target: target, conns: make(map[net.Conn]struct{})}
	g.wg.Go(g.serve) // ends with Close
	return g, nil
}

// Addr is where clients connect, host:port.
func (g *Gate) Addr() string { return g.listener.Addr().String() }

// Received is how many bytes came through to clients so far: TCP payload.
func (g *Gate) Received() int64 { return g.received.Load() }

// Block resets all connections and refuses new ones until Unblock.
func (g *Gate) Block() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = true
	g.cut()
}

// Unblock lets new connections through again.
func (g *Gate) Unblock() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = false
}

// Cut resets all connections once.
func (g *Gate) Cut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.cut()
}

func (g *Gate) cut() {
	for c := range g.conns {
		c.Close()
	}
}

// Close ends the gate and its connections.
func (g *Gate) Close() error {
	err := g.listener.Close()
	g.Block()
	g.wg.Wait()
	return err
}

func (g *Gate) serve() {
	for {
		in, err := g.listener.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", g.target)
		if err != nil {
			in.Close()
			continue
		}
		if !g.admit(in, out) {
			in.Close()
			out.Close()
			continue
		}
		var uncounted atomic.Int64
		g.wg.Go(func() { g.pass(out, in, &uncounted) }) // both end with either connection
		g.wg.Go(func() { g.pass(in, out, &g.received) })
	}
}

func (g *Gate) admit(conns ...net.Conn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut {
		return false
	}
	for _, c := range conns {
		g.conns[c] = struct{}{}
	}
	return true
}

// pass copies from one side to the other. It counts before it writes: whoever has seen something
// arrive finds it counted.
func (g *Gate) pass(to, from net.Conn, count *atomic.Int64) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			count.Add(int64(n))
			if _, werr := to.Write(buf[:n]); werr != nil {
				break
			}
		}
		if err != nil {
			break
		}
	}
	to.Close()
	from.Close()
	g.mu.Lock()
	delete(g.conns, to)
	g.mu.Unlock()
}

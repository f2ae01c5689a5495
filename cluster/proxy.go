package cluster

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/etcdkit/etcdkit/internal/port"
)

const (
	chunkSize = 32 << 10
	// maxDelayed bounds what a delayed direction holds, in chunks: past it the sender waits,
	// as it would on a long line whose window is full.
	maxDelayed = 64
	// cutTimeout is how long a connection stays open on a link that is cut. Longer than the
	// 5 s after which etcd's peers give up by themselves; bounded so that a long partition
	// does not pile up sockets.
	cutTimeout  = time.Minute
	acceptRetry = 10 * time.Millisecond
)

// proxy is the TCP listener before a member's peer or client port. It forwards to the member's
// unix socket and holds bytes back where the network says so: a cut link is silent (as a lost
// network is), never reset, and what was held arrives in order once it is healed.
//
// Upstream's pkg/v3/proxy listens on every interface and cannot tell one peer from another;
// docs/adr/0002 has the choice.
type proxy struct {
	addr   string // 127.0.0.1:port
	target string // unix socket of the member
	net    *network
	// from tells which member opened a peer connection, "" if none did; nil on client ports.
	from   func(net.Conn) string
	member string
	direct bool // the member listens itself: the port is only kept free until it does

	// open is set once the member answers. Before that connections are reset: they would
	// wait in a socket that is not read, and members that bootstrap together would each
	// wait 1 s for every other's answer.
	open atomic.Bool

	held io.Closer // keeps the port while it is closed; nil before the first listen

	mu    sync.Mutex
	ln    net.Listener
	conns map[*conn]struct{}
	wg    sync.WaitGroup // accept loop and every connection
}

// conn is one forwarded connection.
type conn struct {
	in, out net.Conn
	link    func() link // what it joins
	closed  chan struct{}
	once    sync.Once
}

func (c *conn) close() {
	c.once.Do(func() {
		close(c.closed)
		c.in.Close()
		c.out.Close()
	})
}

// listen opens the port, also again after closePort. Its address is the member's from the first time on.
func (p *proxy) listen() error {
	if p.held == nil {
		addr, held, err := port.Hold(p.addr)
		if err != nil {
			return err
		}
		p.addr, p.held = addr, held
	}
	ln, err := net.Listen("tcp4", p.addr)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ln = ln
	if !p.direct {
		p.conns = make(map[*conn]struct{})
		p.wg.Go(func() { p.accept(ln) })
	}
	return nil
}

// freeForMember leaves the port to the member, if that listens itself.
func (p *proxy) freeForMember() {
	if p.direct {
		p.closePort()
	}
}

// closePort closes the port and its connections: a member that is down refuses connections.
func (p *proxy) closePort() {
	p.open.Store(false)
	p.mu.Lock()
	if p.ln != nil {
		p.ln.Close()
		p.ln = nil
	}
	for c := range p.conns {
		c.close()
	}
	p.mu.Unlock()
	p.wg.Wait()
}

// close gives the port back.
func (p *proxy) close() {
	p.closePort()
	if p.held != nil {
		p.held.Close()
	}
}

func (p *proxy) accept(ln net.Listener) {
	for {
		in, err := ln.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			// A connection that died in the queue, or descriptors short for a moment.
			<-time.After(acceptRetry)
			continue
		}
		p.wg.Go(func() { p.serve(in) })
	}
}

func (p *proxy) serve(in net.Conn) {
	if !p.open.Load() {
		reset(in)
		return
	}
	out, err := net.Dial("unix", p.target)
	if err != nil {
		reset(in)
		return
	}
	c := &conn{in: in, out: out, closed: make(chan struct{}), link: p.linkOf(in)}
	p.mu.Lock()
	if p.ln == nil { // closed meanwhile
		p.mu.Unlock()
		c.close()
		return
	}
	p.conns[c] = struct{}{}
	p.mu.Unlock()

	var both sync.WaitGroup
	both.Go(func() { p.copyOneWay(c, out, in) })
	both.Go(func() { p.copyOneWay(c, in, out) })
	both.Wait()
	c.close()
	p.mu.Lock()
	delete(p.conns, c)
	p.mu.Unlock()
}

// linkOf returns a function that tells the link of a connection. It finds it once; a failed look-up is tried
// again with the next bytes, or a member's connection would be free of every fault.
func (p *proxy) linkOf(in net.Conn) func() link {
	var mu sync.Mutex
	opener := unknownPeer
	return func() link {
		mu.Lock()
		defer mu.Unlock()
		if opener == unknownPeer {
			opener = p.opener(in)
		}
		return linkOf(opener, p.member)
	}
}

// opener is what opened a connection: clients, a member, or unknownPeer.
func (p *proxy) opener(in net.Conn) string {
	if p.from == nil {
		return clients
	}
	for range 3 { // the system's table is not read at one instant
		if name := p.from(in); name != "" {
			return name
		}
	}
	return unknownPeer
}

// copyOneWay copies one direction until either side ends.
func (p *proxy) copyOneWay(c *conn, dst, src net.Conn) {
	var line *delayed
	defer func() {
		if line != nil {
			close(line.queue)
			line.wg.Wait()
		}
		if p.waitUntilHealed(c) { // a lost network loses the end of a connection, too
			closeWrite(dst)
		} else {
			c.close()
		}
	}()
	buf := make([]byte, chunkSize)
	for {
		n, err := src.Read(buf)
		if n > 0 {
			delay := p.delay(c)
			if line == nil && delay > 0 {
				line = &delayed{queue: make(chan chunk, maxDelayed)}
				line.wg.Go(func() { line.drain(p, c, dst) })
			}
			if line != nil {
				// Once delayed, always through the line: bytes must not overtake.
				select {
				case line.queue <- chunk{append([]byte(nil), buf[:n]...), time.Now().Add(delay)}:
				case <-c.closed:
					return
				}
			} else if !p.forward(c, dst, buf[:n]) {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// forward writes b once the link is up. False means the connection is over.
func (p *proxy) forward(c *conn, dst net.Conn, b []byte) bool {
	if !p.waitUntilHealed(c) {
		c.close()
		return false
	}
	if _, err := dst.Write(b); err != nil {
		c.close()
		return false
	}
	return true
}

func (p *proxy) delay(c *conn) time.Duration {
	r := p.net.rules.Load()
	if r.noFaults() {
		return 0
	}
	return r.delayOn(c.link())
}

// waitUntilHealed waits while the link is cut.
func (p *proxy) waitUntilHealed(c *conn) bool {
	var patience <-chan time.Time
	for {
		r := p.net.rules.Load()
		if r.noFaults() || !r.cut[c.link()] {
			return true
		}
		if patience == nil {
			t := time.NewTimer(cutTimeout)
			defer t.Stop()
			patience = t.C
		}
		select {
		case <-r.changed:
		case <-c.closed:
			return false
		case <-patience:
			return false
		}
	}
}

// delayed is the second half of a direction with latency: it writes each chunk when it is due.
type delayed struct {
	queue chan chunk
	wg    sync.WaitGroup
}

type chunk struct {
	b   []byte
	due time.Time
}

func (d *delayed) drain(p *proxy, c *conn, dst net.Conn) {
	alive := true
	for ch := range d.queue {
		if alive { // or else only make room: copyOneWay may still be sending
			alive = p.due(c, ch.due) && p.forward(c, dst, ch.b)
		}
	}
}

// due waits until then, or less if the latency is taken off meanwhile.
func (p *proxy) due(c *conn, then time.Time) bool {
	for {
		r := p.net.rules.Load()
		if latest := time.Now().Add(r.delayOn(c.link())); latest.Before(then) {
			then = latest
		}
		t := time.NewTimer(time.Until(then))
		select {
		case <-t.C:
			return true
		case <-r.changed:
			t.Stop()
		case <-c.closed:
			t.Stop()
			return false
		}
	}
}

func closeWrite(c net.Conn) {
	if w, ok := c.(interface{ CloseWrite() error }); ok {
		_ = w.CloseWrite()
	}
}

// reset ends a connection as a port without a listener would.
func reset(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	c.Close()
}

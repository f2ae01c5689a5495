package ask

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/connectivity"
)

const (
	// silence is how long nothing has answered before a failure is a reason to find out whether
	// anything can be reached at all.
	silence = 2 * time.Second
	// probeAllEvery spaces such probes of all endpoints, which cost one connection for each endpoint.
	probeAllEvery = 5 * time.Second
	// spread is within what time those that waited at the gate come back.
	spread = 300 * time.Millisecond
)

// gate is closed while no endpoint can be reached.
type gate struct {
	dialer   *Dialer      // nil: gRPC connects by itself
	answered atomic.Int64 // when something answered last; see sinceStart
	isClosed atomic.Bool  // reopened != nil
	refused  atomic.Bool  // Certificate(cause)

	mu       sync.Mutex
	reopened chan struct{} // nil: open; closed when it opens
	cause    error         // of the latest failure since the latest answer
	probing  bool
	probedAt time.Time // when the latest probe of all endpoints began
}

var start = time.Now()

func sinceStart() time.Duration { return time.Since(start) }

// Answered records that etcd has answered something, and opens the gate: a request that was sent
// before can be answered before a probe is. A refusal is an answer, too.
func (c *Client) Answered() {
	c.gate.answered.Store(int64(sinceStart()))
	if c.gate.isClosed.Load() {
		c.openGate()
	}
	if c.gate.refused.Load() {
		c.gate.accepted()
	}
	if c.closing.inUse.Load() {
		c.closing.refill()
	}
}

// Failed records that a request got no answer, and why. Without it the gate notices only
// that connections are refused, not that members are silent.
func (c *Client) Failed(err error) {
	if err == nil || c.main == nil || c.Err() != nil {
		return
	}
	g := &c.gate
	g.mu.Lock()
	g.recordCause(err)
	g.mu.Unlock()
	if c.main.GetState() == connectivity.TransientFailure {
		c.closeGate(err)
		return
	}
	if sinceStart()-time.Duration(g.answered.Load()) >= silence {
		c.probeAll()
	}
}

// recordCause records the cause of a failure. That the members refuse the client's certificate stays the
// cause until something answers: in TLS 1.3 the refusal is read by chance only, as the server has
// closed the connection already. g.mu is held.
func (g *gate) recordCause(err error) {
	if Reason(err) != nil && (!Certificate(g.cause) || Certificate(err)) {
		g.cause = err
		g.refused.Store(Certificate(err))
	}
}

// accepted forgets that a member refused the client's certificate.
func (g *gate) accepted() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.refused.Swap(false) {
		g.cause = nil
	}
}

// Outage is nil while etcd can be reached as far as is known. Otherwise it names the endpoints and
// why the latest try failed.
func (c *Client) Outage() error {
	g := &c.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.reopened == nil {
		return nil
	}
	return &Unanswered{Endpoints: c.cli.Endpoints(), Cause: g.cause}
}

// Latest is the cause of a failure, or, if that is no more than an outage, what is known of it by now: an
// outage can begin before it is known why.
func Latest(c interface{ Outage() error }, cause error) error {
	var known *Unanswered
	if cause != nil && !errors.As(cause, &known) {
		return cause
	}
	if outage := c.Outage(); outage != nil {
		return outage
	}
	return cause
}

// Await returns at once while etcd can be reached as far as is known. In an outage it waits until an
// endpoint answers, and then for a random part of 300 ms, so that not all come back at once. The
// error is ErrClosed, or the cause of ctx's end.
func (c *Client) Await(ctx context.Context) error {
	for waited := false; ; waited = true {
		if err := c.Err(); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		c.gate.mu.Lock()
		reopened := c.gate.reopened
		c.gate.mu.Unlock()
		if reopened == nil {
			if !waited {
				return nil
			}
			return c.sleep(ctx, rand.N(spread))
		}
		select {
		case <-reopened:
		case <-ctx.Done():
		case <-c.Done():
		}
	}
}

// sleep returns after d, or with the error that ended it.
func (c *Client) sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-c.Done():
		return ErrClosed
	}
}

// watchConnection closes the gate when gRPC finds every endpoint unreachable, and opens it when one
// is connected. It ends with the client.
func (c *Client) watchConnection() {
	state := c.main.GetState()
	for {
		switch state {
		case connectivity.TransientFailure:
			c.closeGate(nil)
		case connectivity.Ready:
			c.openGate()
		}
		if !c.main.WaitForStateChange(c.cli.Ctx(), state) {
			return
		}
		state = c.main.GetState()
	}
}

// closeGate closes the gate and starts the prober.
func (c *Client) closeGate(cause error) {
	g := &c.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.reopened != nil || c.Err() != nil {
		return
	}
	g.recordCause(cause)
	g.reopened = make(chan struct{})
	g.isClosed.Store(true)
	go c.probe(g.reopened) // ends when the gate opens, or with the client
}

// openGate opens the gate, and has gRPC connect now: by itself it would wait, for up to two minutes.
func (c *Client) openGate() {
	g := &c.gate
	g.mu.Lock()
	reopened := g.reopened
	g.reopened, g.cause = nil, nil
	g.isClosed.Store(false)
	g.refused.Store(false)
	g.mu.Unlock()
	c.Answered()
	if reopened == nil {
		return
	}
	if g.dialer != nil {
		g.dialer.forget()
	}
	if !c.connected() { // it goes through gRPC's connections without a lock
		c.main.ResetConnectBackoff()
	}
	c.conns.renew()
	close(reopened)
}

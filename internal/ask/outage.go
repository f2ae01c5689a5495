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
	// askAllAfter is how long nothing has answered before a failure is a reason to find out whether
	// anything can be reached at all.
	askAllAfter = 2 * time.Second
	// probeAllEvery spaces such probes of all endpoints, which cost one connection for each endpoint.
	probeAllEvery = 5 * time.Second
	// spread is the time over which those that waited for the end of an outage come back.
	spread = 300 * time.Millisecond
)

// outage is what is known of the present outage, in which no endpoint can be reached, or that there is none.
type outage struct {
	dialer   *Dialer      // nil: gRPC connects by itself
	answered atomic.Int64 // when something answered last; see sinceStart
	known    atomic.Bool  // over != nil
	refused  atomic.Bool  // RefusesCertificate(cause)

	mu       sync.Mutex
	over     chan struct{} // closed when the outage ends; nil: there is none
	cause    error         // of the latest failure since the latest answer
	probing  bool
	probedAt time.Time // when the latest probe of all endpoints began
}

var start = time.Now()

func sinceStart() time.Duration { return time.Since(start) }

// Answered records that etcd has answered something, which ends an outage: a request that was sent
// before can be answered before a probe is. A refusal is an answer, too.
func (c *Client) Answered() {
	c.outage.answered.Store(int64(sinceStart()))
	if c.outage.known.Load() {
		c.endOutage()
	}
	if c.outage.refused.Load() {
		c.outage.accepted()
	}
	if c.closing.inUse.Load() {
		c.closing.refill()
	}
}

// Failed records that a request got no answer, and why. Without it the client notices only
// that connections are refused, not that members are silent.
func (c *Client) Failed(err error) {
	if err == nil || c.main == nil || c.Err() != nil {
		return
	}
	o := &c.outage
	o.mu.Lock()
	o.recordCause(err)
	o.mu.Unlock()
	if c.main.GetState() == connectivity.TransientFailure {
		c.beginOutage(err)
		return
	}
	if sinceStart()-time.Duration(o.answered.Load()) >= askAllAfter {
		c.probeAll()
	}
}

// recordCause records the cause of a failure. That the members refuse the client's certificate stays the
// cause until something answers: in TLS 1.3 the refusal is read by chance only, as the server has
// closed the connection already. o.mu is held.
func (o *outage) recordCause(err error) {
	if Reason(err) != nil && (!RefusesCertificate(o.cause) || RefusesCertificate(err)) {
		o.cause = err
		o.refused.Store(RefusesCertificate(err))
	}
}

// accepted forgets that a member refused the client's certificate.
func (o *outage) accepted() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.refused.Swap(false) {
		o.cause = nil
	}
}

// Outage is nil while etcd can be reached as far as is known. Otherwise it names the endpoints and
// why the latest try failed.
func (c *Client) Outage() error {
	o := &c.outage
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.over == nil {
		return nil
	}
	return &Unanswered{Endpoints: c.cli.Endpoints(), Cause: o.cause}
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
		c.outage.mu.Lock()
		over := c.outage.over
		c.outage.mu.Unlock()
		if over == nil {
			if !waited {
				return nil
			}
			return c.sleep(ctx, rand.N(spread))
		}
		select {
		case <-over:
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

// watchConnection begins an outage when gRPC finds every endpoint unreachable, and ends it when one
// is connected. It ends with the client.
func (c *Client) watchConnection() {
	state := c.main.GetState()
	for {
		switch state {
		case connectivity.TransientFailure:
			c.beginOutage(nil)
		case connectivity.Ready:
			c.endOutage()
		}
		if !c.main.WaitForStateChange(c.cli.Ctx(), state) {
			return
		}
		state = c.main.GetState()
	}
}

// beginOutage records that there is an outage, and starts the prober.
func (c *Client) beginOutage(cause error) {
	o := &c.outage
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.over != nil || c.Err() != nil {
		return
	}
	o.recordCause(cause)
	o.over = make(chan struct{})
	o.known.Store(true)
	go c.probe(o.over) // ends when the outage ends, or with the client
}

// endOutage records that there is none, and has gRPC connect now: by itself it would wait, for up to two minutes.
func (c *Client) endOutage() {
	o := &c.outage
	o.mu.Lock()
	over := o.over
	o.over, o.cause = nil, nil
	o.known.Store(false)
	o.refused.Store(false)
	o.mu.Unlock()
	c.Answered()
	if over == nil {
		return
	}
	if o.dialer != nil {
		o.dialer.forget()
	}
	if !c.connected() { // it goes through gRPC's connections without a lock
		c.main.ResetConnectBackoff()
	}
	c.conns.renew()
	close(over)
}

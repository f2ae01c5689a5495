package lease

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/ask"
)

// Lease is one lease in etcd, for as long as it lives: it ends once and never comes back. Its
// methods may be called from any goroutine.
type Lease struct {
	keeper   *Keeper
	id       clientv3.LeaseID
	done     chan struct{}
	renewNow chan struct{} // a keepalive is wanted now

	// On the Keeper's clock. Written under mu.
	deadline  atomic.Int64
	confirmed atomic.Int64 // when the last answered keepalive, or the grant, was sent
	ttl       atomic.Int64 // that etcd granted

	mu      sync.Mutex
	err     error         // set before done is closed
	cause   error         // of the last try that failed since the last that was answered
	changed chan struct{} // closed and replaced by each answered keepalive

	// Guarded by keeper.mu.
	reserved     int
	everReserved bool // room was reserved on it: users of Reserve move their keys
}

func newLease(k *Keeper, g granted) *Lease {
	l := &Lease{
		keeper:   k,
		id:       g.id,
		done:     make(chan struct{}),
		renewNow: make(chan struct{}, 1),
		changed:  make(chan struct{}),
	}
	l.extend(g.sent, g.ttl)
	return l
}

// ID is what goes into clientv3.WithLease. It is never 0.
func (l *Lease) ID() clientv3.LeaseID { return l.id }

func (l *Lease) hex() string { return fmt.Sprintf("%x", int64(l.id)) }

// Done is closed when the lease ended, and at its deadline at the latest. A process that was
// stopped, or a machine that was suspended, notices within a second of going on; Err and
// Remaining know at once.
func (l *Lease) Done() <-chan struct{} { return l.done }

// Err returns nil while the lease lives. Then it is why it ended: ErrExpired, ErrRevoked,
// ErrUnreachable, ErrUnauthorised or ErrClosed, with the lease's id and the cause. It reads
// the clock: past the deadline it is never nil, whether or not Done could be closed yet.
func (l *Lease) Err() error {
	select {
	case <-l.done:
	default:
		switch {
		case l.keeper.etcd.Err() != nil:
			l.endWithClient()
		case l.left() > 0:
			return nil
		default:
			l.expire()
		}
	}
	return l.err
}

// Remaining is the time until the deadline, as of now; 0 once the lease ended. The deadline is
// when the last answered keepalive (or the grant) was sent, plus the TTL in that answer, minus
// the margin.
func (l *Lease) Remaining() time.Duration {
	select {
	case <-l.done:
		return 0
	default:
		return max(l.left(), 0)
	}
}

// Deadline is Remaining as a time, on Go's monotonic clock: good for a context or a timer.
// Each keepalive that is answered moves it. To decide something use Remaining or Err, which
// also count the time that the machine was suspended.
func (l *Lease) Deadline() time.Time { return time.Now().Add(l.Remaining()) }

// Confirm has a keepalive sent now and returns when it, or a later one, was answered: nil
// means that the lease was alive after Confirm was called. It returns Err once the lease
// ended, and ctx's error.
func (l *Lease) Confirm(ctx context.Context) error {
	since := int64(l.keeper.clock())
	for {
		l.mu.Lock()
		changed := l.changed
		l.mu.Unlock()
		if err := l.Err(); err != nil {
			return err
		}
		if l.confirmed.Load() >= since {
			return nil
		}
		select {
		case l.renewNow <- struct{}{}:
		default:
		}
		select {
		case <-changed:
		case <-l.done:
		case <-ctx.Done():
			return l.unconfirmed(context.Cause(ctx))
		}
	}
}

// Unreserve gives back room that Reserve reserved. It panics when there was not so much.
func (l *Lease) Unreserve(keys int) {
	l.keeper.mu.Lock()
	defer l.keeper.mu.Unlock()
	if keys < 0 || keys > l.reserved {
		panic(fmt.Sprintf("lease: Unreserve of %d keys; %d are reserved", keys, l.reserved))
	}
	l.reserved -= keys
}

// left is the time until the deadline; less than 0 after it.
func (l *Lease) left() time.Duration {
	return time.Duration(l.deadline.Load()) - l.keeper.clock()
}

func (l *Lease) granted() time.Duration { return time.Duration(l.ttl.Load()) }

// interval is the time from one answered keepalive, as it was sent, to the next.
func (l *Lease) interval() time.Duration { return l.granted() / 3 }

// patience is how long a try may be silent. Two of them fit into a third of the TTL, since the
// first other endpoint may turn out to be the silent member again.
func (l *Lease) patience() time.Duration { return l.granted() / 9 }

// extend records an answer. l.mu is held, or l not yet shared.
func (l *Lease) extend(sent, ttl time.Duration) {
	l.ttl.Store(int64(ttl))
	l.deadline.Store(int64(sent + ttl - l.keeper.opts.margin(ttl)))
	l.confirmed.Store(int64(sent))
}

// answered records an answered keepalive. An answer past the deadline comes too late: a caller may
// have seen the lease end.
func (l *Lease) answered(sent, ttl time.Duration) {
	l.keeper.counts.keepAlives.Add(1)
	l.mu.Lock()
	late := l.cause != nil
	if l.err != nil || l.left() <= 0 {
		l.mu.Unlock()
		return
	}
	l.cause = nil
	l.extend(sent, ttl)
	close(l.changed)
	l.changed = make(chan struct{})
	l.mu.Unlock()
	if late {
		l.keeper.log.Info("lease confirmed again", "lease", l.hex())
	}
}

// failed records a failed try.
func (l *Lease) failed(err error) {
	l.mu.Lock()
	first := l.cause == nil
	l.cause = err
	l.mu.Unlock()
	if first {
		l.keeper.log.Warn("lease not confirmed, it is tried again", "lease", l.hex(), "cause", err.Error())
	}
}

// expire ends a lease at its deadline.
func (l *Lease) expire() {
	l.mu.Lock()
	cause := l.cause
	l.mu.Unlock()
	if cause == nil {
		l.end(ended(l.id, ErrExpired, "was not renewed in time, as this process or the machine stood still", nil))
		return
	}
	l.end(ended(l.id, ErrUnreachable, "was not renewed in time", l.keeper.gaveUp(nil, cause)))
}

// endWithClient ends a lease whose etcd client was closed: nothing may renew it any longer.
func (l *Lease) endWithClient() { l.end(ended(l.id, ErrClosed, "", ask.ErrClosed)) }

// end ends the lease, if it has not ended.
func (l *Lease) end(err error) {
	l.mu.Lock()
	if l.err != nil {
		l.mu.Unlock()
		return
	}
	l.err = err
	l.keeper.counts.end(err) // first, so that a caller that sees Done sees it counted
	close(l.done)
	l.mu.Unlock()
	l.keeper.remove(l)
}

// checkEvery bounds how late a deadline is noticed that the machine slept through: Go's timers
// stand still meanwhile.
const checkEvery = time.Second

// guard ends the lease at its deadline. It sends nothing, so nothing can hold it up. It
// logs that the lease was lost: the caller that ends one may hold locks that a log handler asks for.
func (l *Lease) guard() {
	defer l.keeper.report(l)
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		left := l.left()
		if left <= 0 {
			l.expire()
			return
		}
		t.Reset(min(left, checkEvery))
		select {
		case <-t.C:
		case <-l.keeper.etcd.Done():
			l.endWithClient()
			return
		case <-l.done:
			return
		}
	}
}

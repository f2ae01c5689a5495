package lock

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/queue"
)

// Hold is the time for which a lock is held. Its methods may be called from any goroutine.
type Hold struct {
	lock *lock
	held *queue.Hold
	line *Mutex      // whose waiters come next; nil: there are none in this process
	left atomic.Bool // Release or Commit was called
}

// lost tells whether the hold was lost.
func (h *Hold) lost() bool { return errors.Is(h.Err(), ErrLost) }

func newHold(l *lock, e *queue.Entry, line *Mutex) *Hold {
	since := time.Now()
	noted := func() string { return acquired(e.Value, since) }
	l.figures.StartHold()
	return &Hold{lock: l, held: l.queue.Hold(e, l.words, noted), line: line}
}

// Token is the fencing token: larger than that of every hold of this name before. The receiver
// of what the holder writes should refuse a smaller one than it has seen.
func (h *Hold) Token() int64 { return h.held.Token() }

// Name is the lock's.
func (h *Hold) Name() string { return h.lock.name }

// Reads are the answers to what Acquire was given to read.
func (h *Hold) Reads() []*clientv3.GetResponse { return h.held.Reads() }

// Key is the key in etcd whose being there is the hold.
func (h *Hold) Key() string { return h.held.Key() }

// Guard is true in etcd as long as the lock is held: in a transaction's If it makes what stands
// in Then fenced, however late it arrives.
func (h *Hold) Guard() clientv3.Cmp { return h.held.Guard() }

// Txn is a transaction that is guarded: its If is Guard and the given comparisons. (It panics, as
// clientv3's does, when If is called again.)
func (h *Hold) Txn(ctx context.Context, also ...clientv3.Cmp) clientv3.Txn {
	return h.held.Txn(ctx, also...)
}

// Done is closed when the hold is over: released, or lost; never later than etcd may give the
// lock to another client, as long as this process runs and clocks tick alike.
func (h *Hold) Done() <-chan struct{} { return h.held.Done() }

// Err is nil while the lock is held, then ErrReleased or ErrLost. It reads the clock.
func (h *Hold) Err() error { return h.held.Err() }

// Deadline is until when the lock is held if nothing renews its lease from now on.
func (h *Hold) Deadline() time.Time { return h.held.Deadline() }

// Commit applies ops and releases the lock, in one transaction: nobody holds it between the two,
// and if it is not held any longer nothing is applied and the error is ErrLost. The responses of
// ops come first in the answer; they are empty if the answer was lost and etcd's history had to be
// asked what has become of the transaction. It takes until ctx ends, and 10 s at the most. After an
// error other than ErrLost and ErrUnknown nothing was applied, and the lock is released.
//
// etcd takes 128 operations in one transaction by default, and the release is one: so ops may be 127.
// More are rpctypes.ErrTooManyOps, and nothing was applied; the lock is released all the same.
//
// A second Commit, or one after Release, is ErrReleased.
func (h *Hold) Commit(ctx context.Context, ops ...clientv3.Op) (*clientv3.TxnResponse, error) {
	if !h.held.StartEnd() {
		return nil, fmt.Errorf("lock: commit under %q: %w", h.lock.name, ErrReleased)
	}
	h.left.Store(true)
	resp, err := h.leave(ctx, ops)
	if errors.Is(err, rpctypes.ErrTooManyOps) {
		err = fmt.Errorf("%d operations, and one that releases: commit less (etcd takes 128 in one transaction unless its --max-txn-ops says otherwise), or write some before, with Txn: %w", len(ops), err)
	}
	return resp, h.lock.ended("commit under", err)
}

// Release gives the lock to the next one. Every hold ends with it, or with Commit, a lost one too:
// the Mutex waits for that. It is idempotent. What is not answered before ctx ends, or in 10 s, goes
// on in the background, for as long as the lease lives. While etcd is away Release takes that long: a
// process that is about to end gives it a ctx with a deadline. The error is ErrLost when the lock was
// lost before.
func (h *Hold) Release(ctx context.Context) error {
	if !h.held.StartEnd() {
		return nil
	}
	h.left.Store(true)
	if h.line != nil && h.line.handOn(h) {
		return nil
	}
	_, err := h.leave(ctx, nil)
	return h.lock.ended("release", err)
}

// leave ends the hold in etcd, and brings the next waiter of this process into the queue in the
// same transaction.
func (h *Hold) leave(ctx context.Context, ops []clientv3.Op) (*clientv3.TxnResponse, error) {
	m := h.line
	if m == nil {
		return h.held.Leave(ctx, ops, nil)
	}
	lost := h.held.Err() != nil
	m.mu.Lock()
	m.forget(h.held.Entry())
	var w *waiter
	if !lost { // nobody enters on its lease otherwise
		w = m.next()
	}
	m.mu.Unlock()
	var next *queue.Entry
	if w != nil {
		next = m.prepare(h.held.Entry().Lease, queue.Kind{}, w.wanted)
	}
	resp, err := h.held.Leave(ctx, ops, next)
	if w != nil {
		w.turn <- turn{entry: next} // entered, or to be entered by itself
	} else {
		m.pass()
	}
	return resp, err
}

// do calls f while the lock is held, and releases it.
func (h *Hold) do(ctx context.Context, to purpose, f func(context.Context, *Hold) error) error {
	in := &inside{to: to, hold: h}
	ctx = context.WithValue(ctx, within{h.lock}, in)
	lost, err := h.held.RunHeld(ctx, func(ctx context.Context) error {
		defer in.over.Store(true) // also when f panics: its context may live on
		return f(ctx, h)
	}, h.Release)
	if lost != nil && !errors.Is(err, ErrUnknown) { // ErrLost says that nothing was written
		err = errors.Join(err, lost)
	}
	return err
}

// within is the key of contexts within Do and DoRead of a lock; the value is an *inside.
type within struct{ of *lock }

// inside is a call of Do or DoRead.
type inside struct {
	to   purpose
	hold *Hold
	over atomic.Bool
}

// inside returns the call of Do or DoRead within which ctx is, while its hold is in the way; or nil.
func (l *lock) inside(ctx context.Context) *inside {
	in, _ := ctx.Value(within{l}).(*inside)
	if in == nil || in.over.Load() || errors.Is(in.hold.Err(), ErrReleased) {
		return nil
	}
	return in
}

type purpose int

const (
	toWrite purpose = iota + 1
	toRead
)

// nested tells whether the caller would wait for itself.
func (l *lock) nested(ctx context.Context) error {
	if l.inside(ctx) == nil {
		return nil
	}
	return fmt.Errorf("%w: %q", ErrNested, l.name)
}

package queue

import (
	"context"
	"errors"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/errtext"
)

// Errors are what the package above says of a hold: its errors, and the name of what is held.
type Errors struct {
	Lost, Unknown error
	Released      error // of one that was given up, as it is returned
	Name          string
	// Ended is nil, or called once for each hold when it ends, without a lock, with what its Err is
	// from then on.
	Ended func(h *Hold, err error)
}

// Hold is an entry whose turn it is, until it leaves or is lost. Its methods may be called from any
// goroutine.
type Hold struct {
	q     *Queue
	entry *Entry
	reads []*clientv3.GetResponse
	errs  *Errors
	long  *time.Timer // until watchAfter
	began time.Time

	mu     sync.Mutex
	done   chan struct{} // nil: no call has asked for it, as most holds are over before one does
	err    error         // how it ended
	ending bool          // its end was asked for
}

// Hold makes the hold of an entry whose turn it is. If it lasts, heldValue is what people read of the
// entry from then on; nil leaves it as it is.
func (q *Queue) Hold(e *Entry, errs *Errors, heldValue func() string) *Hold {
	h := &Hold{q: q, entry: e, reads: e.Reads, errs: errs, began: time.Now()}
	v := q.lockView()
	if e.deleted {
		v.mu.Unlock()
		_ = h.lose(errKeyDeleted)
		return h
	}
	defer v.mu.Unlock()
	e.hadTurn, e.hold = true, h
	q.holds[h] = struct{}{}
	if e.heldSince.IsZero() {
		e.heldSince = h.began
	}
	if !e.ownWatched && h.began.Sub(e.heldSince) > watchAfter { // it was handed on from one hold to the next
		q.watchOwnKey(e, nil)
	}
	h.long = time.AfterFunc(watchAfter, func() {
		value := ""
		if heldValue != nil {
			value = heldValue()
		}
		q.watchLongHold(h, value)
	})
	return h
}

// Entry is what is held.
func (h *Hold) Entry() *Entry { return h.entry }

// Began is when the hold began.
func (h *Hold) Began() time.Time { return h.began }

// Token is the fencing token: larger than that of every entry of this name before.
func (h *Hold) Token() int64 { return h.entry.Revision }

// Reads are the answers to what was to be read when the turn came.
func (h *Hold) Reads() []*clientv3.GetResponse { return h.reads }

// Key is the key in etcd: it is held as long as this key exists.
func (h *Hold) Key() string { return h.entry.Key }

// Guard is true in etcd as long as it is held.
func (h *Hold) Guard() clientv3.Cmp { return h.entry.Guard() }

// Txn is a transaction whose If is Guard and the given comparisons.
func (h *Hold) Txn(ctx context.Context, also ...clientv3.Cmp) clientv3.Txn {
	return h.q.cli.Txn(ctx).If(append([]clientv3.Cmp{h.Guard()}, also...)...)
}

// Done is closed when the hold is over: given up, or lost.
func (h *Hold) Done() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.done != nil {
		return h.done
	}
	h.done = make(chan struct{})
	if h.err != nil {
		close(h.done)
		return h.done
	}
	go func() { // ends with the hold
		select {
		case <-h.entry.Lease.Done():
			_ = h.Err()
		case <-h.q.cli.Ctx().Done():
			_ = h.Err()
		case <-h.done:
		}
	}()
	return h.done
}

// Err is nil while it is held, then the package's error for how it ended. It reads the clock.
func (h *Hold) Err() error {
	h.mu.Lock()
	err := h.err
	h.mu.Unlock()
	if err != nil {
		return err
	}
	if closed := h.q.client.etcd.Err(); closed != nil {
		return h.lose(closed)
	}
	if lost := h.entry.Lease.Err(); lost != nil {
		return h.lose(lost)
	}
	return nil
}

// Deadline is until when it is held if nothing renews its lease from now on.
func (h *Hold) Deadline() time.Time { return h.entry.Lease.Deadline() }

// lose ends the hold as lost, and returns how it ended.
func (h *Hold) lose(why error) error {
	return h.end(errtext.Errorf("%w: %s: %w", h.errs.Lost, h.errs.Name, why))
}

// deleted ends the hold as lost, as its key was deleted, unless the holder is giving it up: that
// deletes the key, too, and finds out by itself.
func (h *Hold) deleted() { h.loseUnlessEnding(errKeyDeleted) }

// loseUnlessEnding ends the hold as lost if its holder is not giving it up. It leaves the right to end it
// to the holder, who learns of the loss by that.
func (h *Hold) loseUnlessEnding(why error) bool {
	h.mu.Lock()
	ending := h.ending
	h.mu.Unlock()
	if !ending {
		_ = h.lose(why)
	}
	return !ending
}

var errKeyDeleted = errors.New("its key is gone")

// end ends the hold, if it has not ended, and returns how it did.
func (h *Hold) end(err error) error {
	h.mu.Lock()
	if h.err != nil {
		defer h.mu.Unlock()
		return h.err
	}
	if h.long != nil {
		h.long.Stop()
	}
	h.err = err
	if h.done != nil {
		close(h.done)
	}
	h.mu.Unlock()
	v := h.q.lockView()
	delete(h.q.holds, h)
	v.mu.Unlock()
	if h.errs.Ended != nil {
		h.errs.Ended(h, err)
	}
	return err
}

// ClaimEnd takes the right to end the hold; it is had once.
func (h *Hold) ClaimEnd() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ending {
		return false
	}
	h.ending = true
	return true
}

// EndHere ends the hold here, as given up, unless it has ended. What becomes of its entry in etcd is for
// the caller.
func (h *Hold) EndHere() { _ = h.end(h.errs.Released) }

// Leave ends the hold, applies ops in the same transaction, or nothing if it is lost, and brings
// next, if there is one, to the end of the queue. An answer that is lost is looked for until ctx
// ends, and 10 s at the most; the entry is removed in the background if need be. The error is the
// package's for a hold that is lost, or an outcome that cannot be found out; after another one
// nothing was applied.
func (h *Hold) Leave(ctx context.Context, ops []clientv3.Op, next *Entry) (*clientv3.TxnResponse, error) {
	if lost := h.Err(); lost != nil {
		h.q.endLost(h.entry)
		return nil, lost
	}
	if err := context.Cause(ctx); err != nil && len(ops) > 0 { // nothing was sent, and that is known
		h.q.RemoveLater(h.entry)
		h.EndHere()
		return nil, err
	}
	began, done := time.Now(), true
	resp, err := h.q.leave(ctx, h.entry, ops, next)
	if err != nil {
		ctx, cancel := context.WithDeadline(ctx, began.Add(leaveTimeout))
		defer cancel()
		defer context.AfterFunc(h.q.leases, cancel)()
		if errors.Is(err, ErrLost) {
			resp, err = h.q.resolveRepeat(ctx, h.entry, ops)
		} else {
			resp, done, err = h.q.resolveLeave(ctx, h.entry, ops, err)
		}
	}
	if errors.Is(err, ErrLost) {
		return nil, h.lose(errKeyDeleted)
	}
	if !done {
		h.q.RemoveLater(h.entry)
	}
	h.EndHere()
	if errors.Is(err, ErrUnknown) {
		return nil, errtext.Errorf("%w (read what it was to write before you repeat it): %w", h.errs.Unknown, err)
	}
	return resp, err
}

// SetValue replaces the value of what is held, and the lease stays. It is ErrLost if it is not held
// any longer; after another error the value may be either.
func (h *Hold) SetValue(ctx context.Context, value string) error {
	if lost := h.Err(); lost != nil {
		return lost
	}
	ctx, cancel := context.WithTimeout(ctx, leaveTimeout)
	defer cancel()
	resp, err := h.Txn(ctx).Then(clientv3.OpPut(h.entry.Key, value, clientv3.WithLease(h.entry.Lease.ID()))).Commit()
	if err == nil && !resp.Succeeded {
		return h.lose(errKeyDeleted)
	}
	return h.q.client.etcd.Explain(err)
}

// RunHeld calls f while it is held, and then leave, also when f panics. f's ctx ends with the loss as
// its cause; lost is that loss, or nil. leave is given 10 s, and once ctx has ended what is left of the
// bound that all handles of the client share while etcd is away, of 2 s.
func (h *Hold) RunHeld(ctx context.Context, f, leave func(context.Context) error) (lost, err error) {
	held, end := context.WithCancelCause(ctx)
	defer end(nil)
	watching := make(chan struct{})
	go func() { // ends with the hold
		defer close(watching)
		<-h.Done()
		if err := h.Err(); errors.Is(err, h.errs.Lost) {
			end(err)
		}
	}()
	defer func() {
		ended := h.Err()
		left, done := h.q.releaseContext(ctx)
		defer done()
		if err := leave(left); ended == nil {
			ended = err
		}
		<-watching
		if errors.Is(ended, h.errs.Lost) {
			lost = ended
		}
	}()
	return nil, f(held)
}

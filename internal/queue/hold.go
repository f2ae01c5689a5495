package queue

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/ask"
)

// leaveTimeout bounds a Leave whose context has no end.
const leaveTimeout = 10 * time.Second

// Errors are what the package above says of a hold: its errors, and the name of what is held.
type Errors struct {
	Lost, Unknown error
	Released      error // of one that was given up, as it is returned
	Name          string
	// Ended is nil, or called once for each hold when it ends, without a lock, with what its Err is
	// from then on.
	Ended func(h *Hold, err error)
}

// long is how long a hold lasts before etcd is told since when, and its key is watched.
const long = time.Second

// Hold is an entry whose turn it is, until it leaves or is lost. Its methods may be called from any
// goroutine.
type Hold struct {
	q     *Queue
	entry *Entry
	reads []*clientv3.GetResponse
	errs  *Errors
	long  *time.Timer // until it has lasted for long
	began time.Time

	mu    sync.Mutex
	done  chan struct{} // nil: no call has asked for it, as most holds are over before one does
	err   error         // how it ended
	going bool          // its end was asked for
}

// Hold makes the hold of an entry whose turn it is. If it lasts, noted is what people shall read of
// the entry from then on; nil leaves it as it is.
func (q *Queue) Hold(e *Entry, errs *Errors, noted func() string) *Hold {
	h := &Hold{q: q, entry: e, reads: e.Reads, errs: errs, began: time.Now()}
	if !q.holding(h, noted) {
		_ = h.lose(errGone)
	}
	return h
}

// holding records a hold. It is false when another client has deleted the entry.
func (q *Queue) holding(h *Hold, noted func() string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	e := h.entry
	if e.gone {
		return false
	}
	e.turned, e.hold = true, h
	q.holds[h] = struct{}{}
	if e.since.IsZero() {
		e.since = h.began
	}
	if !e.held && h.began.Sub(e.since) > long { // it was handed on from one hold to the next
		q.guard(e, nil)
	}
	h.long = time.AfterFunc(long, func() {
		if noted == nil {
			noted = func() string { return "" }
		}
		q.lasts(h, noted())
	})
	return true
}

// lasts is told of a hold that has lasted for long, and of what people shall read of it.
func (q *Queue) lasts(h *Hold, note string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch e := h.entry; {
	case e.hold != h || h.q.closed:
	case !e.held:
		q.guard(e, func(ctx context.Context) (int64, bool, error) { return q.note(ctx, e, note) })
	case note != "":
		q.start(func() {
			ctx, cancel := context.WithTimeout(q.life, tryTimeout)
			defer cancel()
			_, _, _ = q.note(ctx, e, note) // nothing depends on it
		})
	}
}

// Entry is what is held.
func (h *Hold) Entry() *Entry { return h.entry }

// Began is when the hold began.
func (h *Hold) Began() time.Time { return h.began }

// Token is the fencing token: larger than that of every entry of this name before. The receiver
// of what the holder writes should refuse a smaller one than it has seen.
func (h *Hold) Token() int64 { return h.entry.Revision }

// Reads are the answers to what was to be read when the turn came.
func (h *Hold) Reads() []*clientv3.GetResponse { return h.reads }

// Key is the key in etcd whose being there is the hold.
func (h *Hold) Key() string { return h.entry.Key }

// Guard is true in etcd as long as it is held: in a transaction's If it makes what stands in Then
// fenced, however late it arrives.
func (h *Hold) Guard() clientv3.Cmp { return h.entry.Guard() }

// Txn is a transaction that is guarded: its If is Guard and the given comparisons. (It panics, as
// clientv3's does, when If is called again.)
func (h *Hold) Txn(ctx context.Context, also ...clientv3.Cmp) clientv3.Txn {
	return h.q.cli.Txn(ctx).If(append([]clientv3.Cmp{h.Guard()}, also...)...)
}

// Done is closed when the hold is over: given up, or lost; never later than etcd may give the turn
// to another client, as long as this process runs and clocks tick alike.
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
	if h.q.hub.gone() {
		return h.lose(ErrClient)
	}
	if lost := h.entry.Lease.Err(); lost != nil {
		return h.lose(lost)
	}
	return nil
}

// Deadline is until when it is held if nothing renews its lease from now on.
func (h *Hold) Deadline() time.Time { return h.entry.Lease.Deadline() }

// lose ends the hold as lost, and returns how it ended.
func (h *Hold) lose(cause error) error { return h.end(h.lostTo(cause)) }

func (h *Hold) lostTo(cause error) error {
	return fmt.Errorf("%w: %s: %w", h.errs.Lost, h.errs.Name, cause)
}

// deleted ends the hold as lost, as its key was deleted, unless the holder is giving it up: that
// deletes the key, too, and finds out by itself.
func (h *Hold) deleted() {
	h.mu.Lock()
	going := h.going
	h.mu.Unlock()
	if !going {
		_ = h.lose(errGone)
	}
}

var errGone = errors.New("its key is gone")

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
	h.q.mu.Lock()
	delete(h.q.holds, h)
	h.q.mu.Unlock()
	if h.errs.Ended != nil {
		h.errs.Ended(h, err)
	}
	return err
}

// StartEnd takes the right to end the hold; it is had once.
func (h *Hold) StartEnd() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.going {
		return false
	}
	h.going = true
	return true
}

// EndHere ends the hold here, as given up. Its entry stays in etcd, for another hold.
func (h *Hold) EndHere() { _ = h.end(h.errs.Released) }

// Leave ends the hold, applies ops in the same transaction, or nothing if it is lost, and brings
// next, if there is one, to the end of the queue. An answer that is lost is looked for until ctx
// ends, and 10 s at the most; the entry is removed in the background if need be. The error is the
// package's for a hold that is lost, or an outcome that cannot be found out; after another one
// nothing was applied.
func (h *Hold) Leave(ctx context.Context, ops []clientv3.Op, next *Entry) (*clientv3.TxnResponse, error) {
	if lost := h.Err(); lost != nil {
		h.q.drop(h.entry)
		return nil, lost
	}
	if err := context.Cause(ctx); err != nil && len(ops) > 0 { // nothing was sent, and that is known
		h.q.Remove(h.entry)
		h.EndHere()
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, leaveTimeout)
	defer cancel()
	defer context.AfterFunc(h.q.owned, cancel)()
	resp, err := h.q.Leave(ctx, h.entry, ops, next)
	done := true
	switch {
	case errors.Is(err, ErrLost):
		resp, err = h.q.repeated(ctx, h.entry, ops)
	case err != nil:
		resp, done, err = h.q.Settle(ctx, h.entry, ops, err)
	}
	if errors.Is(err, ErrLost) {
		return nil, h.lose(errGone)
	}
	if !done {
		h.q.Remove(h.entry)
	}
	h.EndHere()
	if errors.Is(err, ErrUnknown) {
		return nil, fmt.Errorf("%w (read what it was to write before you repeat it): %w", h.errs.Unknown, err)
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
		return h.lose(errGone)
	}
	return ask.Of(h.q.cli).Explain(err)
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
		left, done := h.q.leaving(ctx)
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

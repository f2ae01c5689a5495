package queue

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// leaveTimeout bounds a Leave whose context has no end.
const leaveTimeout = 10 * time.Second

// Words are what the package above says of a hold: its errors, and the name of what is held.
type Words struct {
	Lost, Unknown error
	Over          error // of one that was given up, as it is returned
	What          string
}

// long is how long a hold lasts before etcd is told since when.
const long = time.Second

// Hold is an entry whose turn it is, until it leaves or is lost. Its methods may be called from any
// goroutine.
type Hold struct {
	q     *Queue
	entry *Entry
	reads []*clientv3.GetResponse
	words *Words
	note  *time.Timer // nil: none

	mu    sync.Mutex
	done  chan struct{} // nil: nobody has asked for it, as most holds are over before anybody does
	err   error         // how it ended
	going bool          // its end was asked for
}

// Hold makes the hold of an entry whose turn it is. If it lasts, noted is what people shall read of
// the entry from then on; nil leaves it as it is.
func (q *Queue) Hold(e *Entry, words *Words, noted func() string) *Hold {
	h := &Hold{q: q, entry: e, reads: e.Reads, words: words}
	if noted != nil {
		h.note = time.AfterFunc(long, func() { q.note(e, noted()) })
	}
	return h
}

// Entry is what is held.
func (h *Hold) Entry() *Entry { return h.entry }

// Token is the fencing token: larger than that of every entry of this name before. Whoever stores
// what the holder writes should refuse a smaller one than it has seen.
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
// to somebody else, as long as this process runs and clocks tick alike.
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
			h.lose(h.entry.Lease.Err())
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
	if lost := h.entry.Lease.Err(); lost != nil {
		return h.lose(lost)
	}
	return nil
}

// Deadline is until when it is held if nothing renews its lease from now on.
func (h *Hold) Deadline() time.Time { return h.entry.Lease.Deadline() }

// lose ends the hold as lost, and returns how it ended.
func (h *Hold) lose(cause error) error {
	return h.end(fmt.Errorf("%w: %s: %w", h.words.Lost, h.words.What, cause))
}

var errGone = errors.New("its key is gone")

// end ends the hold, if it has not ended, and returns how it did.
func (h *Hold) end(err error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err != nil {
		return h.err
	}
	if h.note != nil {
		h.note.Stop()
	}
	h.err = err
	if h.done != nil {
		close(h.done)
	}
	return err
}

// Begin takes the right to end the hold; it is had once.
func (h *Hold) Begin() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.going {
		return false
	}
	h.going = true
	return true
}

// Over ends the hold here, as given up. Its entry stays in etcd, for another hold.
func (h *Hold) Over() { _ = h.end(h.words.Over) }

// Leave ends the hold, applies ops in the same transaction, or nothing if it is lost, and brings
// next, if there is one, to the end of the queue. An answer that is lost is looked for until ctx
// ends, and 10 s at the most; the entry is removed in the background if need be. The error is the
// package's for a hold that is lost, or an outcome that cannot be found out; after another one
// nothing was applied.
func (h *Hold) Leave(ctx context.Context, ops []clientv3.Op, next *Entry) (*clientv3.TxnResponse, error) {
	if lost := h.Err(); lost != nil {
		h.q.Remove(h.entry) // etcd may have it still
		return nil, lost
	}
	if err := context.Cause(ctx); err != nil && len(ops) > 0 { // nothing was sent, and that is known
		h.q.Remove(h.entry)
		h.Over()
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
	h.Over()
	if errors.Is(err, ErrUnknown) {
		return nil, fmt.Errorf("%w (read what it was to write before you repeat it): %w", h.words.Unknown, err)
	}
	return resp, err
}

// Say replaces the value of what is held, and the lease stays. It is ErrLost if it is not held
// any longer; after another error the value may be either.
func (h *Hold) Say(ctx context.Context, value string) error {
	if lost := h.Err(); lost != nil {
		return lost
	}
	ctx, cancel := context.WithTimeout(ctx, leaveTimeout)
	defer cancel()
	resp, err := h.Txn(ctx).Then(clientv3.OpPut(h.entry.Key, value, clientv3.WithLease(h.entry.Lease.ID()))).Commit()
	if err == nil && !resp.Succeeded {
		return h.lose(errGone)
	}
	return err
}

// During calls f while it is held, and then leave, also when f panics. f's ctx ends with the loss as
// its cause; lost is that loss, or nil.
func (h *Hold) During(ctx context.Context, f, leave func(context.Context) error) (lost, err error) {
	held, end := context.WithCancelCause(ctx)
	defer end(nil)
	watching := make(chan struct{})
	go func() { // ends with the hold
		defer close(watching)
		<-h.Done()
		if err := h.Err(); errors.Is(err, h.words.Lost) {
			end(err)
		}
	}()
	defer func() {
		ended := h.Err()
		if err := leave(context.WithoutCancel(ctx)); ended == nil { // bounded
			ended = err
		}
		<-watching
		if errors.Is(ended, h.words.Lost) {
			lost = ended
		}
	}()
	return nil, f(held)
}

package lock

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/queue"
)

const (
	// releaseTimeout bounds a Release whose context has no end.
	releaseTimeout = 10 * time.Second
	// long is how long a hold lasts before etcd is told since when.
	long = time.Second
)

// Hold is the time for which a lock is held. Its methods may be called from any goroutine.
type Hold struct {
	m     *Mutex
	entry *queue.Entry
	done  chan struct{}
	watch func() // has done closed when the lease ends; most holds are over before anybody asks
	note  *time.Timer

	mu    sync.Mutex
	err   error // set before done is closed
	going bool  // Release or Commit was called
}

func newHold(m *Mutex, e *queue.Entry) *Hold {
	h := &Hold{m: m, entry: e, done: make(chan struct{})}
	since := now()
	h.note = time.AfterFunc(long, func() { m.queue.Note(e, acquired(e.Value, since)) })
	h.watch = sync.OnceFunc(func() {
		go func() { // ends with the hold
			select {
			case <-e.Lease.Done():
				h.end(fmt.Errorf("%w: %q: %w", ErrLost, m.name, e.Lease.Err()))
			case <-h.done:
			}
		}()
	})
	return h
}

// Token is the fencing token: larger than that of every hold of this name before. Whoever stores
// what the holder writes should refuse a smaller one than it has seen.
func (h *Hold) Token() int64 { return h.entry.Revision }

// Reads are the answers to what Acquire was given to read.
func (h *Hold) Reads() []*clientv3.GetResponse { return h.entry.Reads }

// Key is the key in etcd whose being there is the hold.
func (h *Hold) Key() string { return h.entry.Key }

// Guard is true in etcd as long as the lock is held: in a transaction's If it makes what stands
// in Then fenced, however late it arrives.
func (h *Hold) Guard() clientv3.Cmp { return h.entry.Guard() }

// Txn is a transaction that is guarded: its If is Guard and the given comparisons. (It panics, as
// clientv3's does, when If is called again.)
func (h *Hold) Txn(ctx context.Context, also ...clientv3.Cmp) clientv3.Txn {
	return h.m.cli.Txn(ctx).If(append([]clientv3.Cmp{h.Guard()}, also...)...)
}

// Done is closed when the hold is over: released, or lost; never later than etcd may give the
// lock to somebody else, as long as this process runs and clocks tick alike.
func (h *Hold) Done() <-chan struct{} {
	h.watch()
	return h.done
}

// Err is nil while the lock is held, then ErrReleased or ErrLost. It reads the clock.
func (h *Hold) Err() error {
	select {
	case <-h.done:
		return h.err
	default:
	}
	if lost := h.entry.Lease.Err(); lost != nil {
		h.end(fmt.Errorf("%w: %q: %w", ErrLost, h.m.name, lost))
		return h.err
	}
	return nil
}

// Deadline is until when the lock is held if nothing renews its lease from now on.
func (h *Hold) Deadline() time.Time { return h.entry.Lease.Deadline() }

func (h *Hold) end(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err == nil {
		h.note.Stop()
		h.err = err
		close(h.done)
	}
}

// begin takes the right to end the hold; it is had once.
func (h *Hold) begin() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.going {
		return false
	}
	h.going = true
	return true
}

// Commit applies ops and releases the lock, in one transaction: nobody holds it between the two,
// and if it is not held any longer nothing is applied and the error is ErrLost. The responses of
// ops come first in the answer; they are empty if the answer was lost and etcd's history had to be
// asked what has become of the transaction. After an error other than ErrLost and ErrUnknown
// nothing was applied, and the lock is released.
//
// A second Commit, or one after Release, is ErrReleased.
func (h *Hold) Commit(ctx context.Context, ops ...clientv3.Op) (*clientv3.TxnResponse, error) {
	if !h.begin() {
		return nil, fmt.Errorf("lock: commit under %q: %w", h.m.name, ErrReleased)
	}
	ctx, cancel := context.WithTimeout(ctx, releaseTimeout)
	defer cancel()
	resp, err := h.leave(ctx, ops)
	if err != nil {
		return nil, h.m.explain("commit under", err)
	}
	return resp, nil
}

// Release gives the lock to the next one. Every hold ends with it, or with Commit, a lost one too:
// the Mutex waits for that. It is idempotent. What is not answered before ctx ends, or in 10 s, goes
// on in the background, for as long as the lease lives. The error is ErrLost when the lock was lost
// before.
func (h *Hold) Release(ctx context.Context) error {
	if !h.begin() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, releaseTimeout)
	defer cancel()
	if _, err := h.leave(ctx, nil); err != nil {
		return h.m.explain("release", err)
	}
	return nil
}

// leave ends the hold in etcd, and brings the next waiter of this process into the queue in the
// same transaction.
func (h *Hold) leave(ctx context.Context, ops []clientv3.Op) (*clientv3.TxnResponse, error) {
	m := h.m
	if lost := h.Err(); lost != nil {
		m.queue.Remove(h.entry) // etcd may have it still
		m.pass()
		return nil, fmt.Errorf("%w: %w", queue.ErrLost, lost)
	}
	m.mu.Lock()
	w := m.next()
	m.mu.Unlock()
	var next *queue.Entry
	if w != nil {
		next = m.prepare(h.entry.Lease, w.wanted)
	}
	resp, err := m.queue.Leave(ctx, h.entry, ops, next)
	switch {
	case err == nil:
		h.end(fmt.Errorf("%w: %q", ErrReleased, m.name))
	case errors.Is(err, queue.ErrLost):
		h.end(fmt.Errorf("%w: %q: its key is gone", ErrLost, m.name))
	default:
		resp, err = h.settle(ctx, ops, err)
	}
	if w != nil {
		w.turn <- next // entered, or to be entered by itself
	} else {
		m.pass()
	}
	return resp, err
}

// settle finds out what has become of a transaction that was not answered, or ends the hold
// without it.
func (h *Hold) settle(ctx context.Context, ops []clientv3.Op, cause error) (*clientv3.TxnResponse, error) {
	resp, done, err := h.m.queue.Settle(ctx, h.entry, ops, cause)
	switch {
	case done && err == nil:
		h.end(fmt.Errorf("%w: %q", ErrReleased, h.m.name))
		return resp, nil
	case errors.Is(err, queue.ErrLost):
		h.end(fmt.Errorf("%w: %q: its key is gone", ErrLost, h.m.name))
		return nil, err
	}
	if !done {
		h.m.queue.Remove(h.entry)
	}
	h.end(fmt.Errorf("%w: %q", ErrReleased, h.m.name))
	if errors.Is(err, queue.ErrUnknown) {
		return nil, fmt.Errorf("%w (read what it was to write before you repeat it): %w", ErrUnknown, err)
	}
	return nil, err
}

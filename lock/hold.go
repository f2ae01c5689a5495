package lock

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/errtext"
	"github.com/etcdkit/etcdkit/internal/queue"
)

// Hold is the time for which a lock is held. Its methods may be called from any goroutine.
type Hold struct {
	lock     *lock
	held     *queue.Hold
	mutex    *Mutex      // whose waiters come next; nil: the waiters are in etcd only
	released atomic.Bool // Release or Commit was called
	run      *markedRun  // of Every, which Commit completes; nil: none
}

// lost tells whether the hold was lost.
func (h *Hold) lost() bool { return errors.Is(h.Err(), ErrLost) }

func newHold(l *lock, e *queue.Entry, mutex *Mutex) *Hold {
	since := time.Now()
	value := func() string { return heldValue(e.Value, since) }
	return &Hold{lock: l, held: l.handle.Hold(e, value), mutex: mutex}
}

// Token is the fencing token: larger than that of every earlier hold of this name. The receiver of
// what the holder writes should refuse a token that is smaller than one that it has seen.
func (h *Hold) Token() int64 { return h.held.Token() }

// Name is the name of the lock.
func (h *Hold) Name() string { return h.lock.handle.Name }

// Reads are the answers to the reads of Acquire.
func (h *Hold) Reads() []*clientv3.GetResponse { return h.held.Reads() }

// Key is the key in etcd: the lock is held as long as this key exists.
func (h *Hold) Key() string { return h.held.Key() }

// Lease is the id of the lease that the key is on.
func (h *Hold) Lease() clientv3.LeaseID { return h.held.Entry().Lease.ID() }

// Guard is a comparison that is true in etcd as long as the lock is held. In the If of a transaction it
// fences what stands in Then, however late the transaction arrives.
func (h *Hold) Guard() clientv3.Cmp { return h.held.Guard() }

// Txn is a transaction whose If is Guard and the given comparisons. (It panics, as that of clientv3
// does, when If is called again.)
func (h *Hold) Txn(ctx context.Context, also ...clientv3.Cmp) clientv3.Txn {
	return h.held.Txn(ctx, also...)
}

// Done is closed when the hold has ended: released, or lost. As long as this process runs and clocks
// tick alike, that is before etcd can give the lock to another client.
func (h *Hold) Done() <-chan struct{} { return h.held.Done() }

// Err is nil while the lock is held, then ErrReleased or ErrLost. It reads the clock.
func (h *Hold) Err() error { return h.held.Err() }

// Deadline is when the hold ends if nothing renews its lease from now on.
func (h *Hold) Deadline() time.Time { return h.held.Deadline() }

// Commit applies ops and releases the lock, in one transaction: no other client holds the lock between
// the two. If the lock is not held any longer, nothing is applied and the error is ErrLost. The
// responses of ops come first in the answer. They are empty if the answer was lost and the outcome had
// to be found in etcd's history. Commit takes until ctx ends, and 10 s at most. After an error other than
// ErrLost and ErrUnknown nothing was applied, and the lock is released.
//
// etcd takes 128 operations in one transaction by default, and the release is one of them: ops may be
// 127. With more the error is rpctypes.ErrTooManyOps: nothing was applied, and the lock is released.
//
// A second Commit, or one after Release, is ErrReleased.
func (h *Hold) Commit(ctx context.Context, ops ...clientv3.Op) (*clientv3.TxnResponse, error) {
	if !h.held.ClaimEnd() {
		return nil, h.lock.handle.Errorf("commit under", "%w", ErrReleased)
	}
	h.released.Store(true)
	marks := h.run.ops()
	ops = append(ops[:len(ops):len(ops)], marks...)
	resp, err := h.leave(ctx, ops)
	if errors.Is(err, rpctypes.ErrTooManyOps) {
		err = errtext.Errorf("%d operations, and one that releases: commit less (etcd takes 128 in one transaction unless its --max-txn-ops says otherwise), or write some before, with Txn: %w", len(ops), err)
	}
	err = h.lock.handle.Ended("commit under", err)
	h.run.committed(len(marks), err)
	return resp, err
}

// Release gives the lock to the next waiter. Every hold ends with Release or Commit, a lost one too: the
// Mutex waits for that. Release is idempotent. If etcd does not answer before ctx ends, or in 10 s, the
// release goes on in the background, for as long as the lease lives. So while etcd is away Release takes
// that long: a process that is about to end gives it a ctx with a deadline. The error of the first call is
// ErrLost if the lock was lost before; a later call, and one after Commit, is nil.
func (h *Hold) Release(ctx context.Context) error {
	if !h.held.ClaimEnd() {
		return nil
	}
	h.released.Store(true)
	if h.mutex != nil && h.mutex.releaseLocally(h) {
		return nil
	}
	_, err := h.leave(ctx, nil)
	return h.lock.handle.Ended("release", err)
}

// leave ends the hold in etcd. The same transaction brings the next waiter of this process into the
// queue.
func (h *Hold) leave(ctx context.Context, ops []clientv3.Op) (*clientv3.TxnResponse, error) {
	m := h.mutex
	if m == nil {
		return h.held.Leave(ctx, ops, nil)
	}
	lost := h.held.Err() != nil
	m.mu.Lock()
	m.forget(h.held.Entry())
	var w *waiter
	if !lost { // otherwise no entry can be put on its lease
		w = m.nextWaiter()
	}
	m.mu.Unlock()
	if w == nil {
		resp, err := h.held.Leave(ctx, ops, nil)
		m.wakeNext()
		return resp, err
	}
	next := m.prepare(h.held.Entry().Lease, queue.Kind{}, w.wanted)
	resp, err := h.held.Leave(ctx, ops, next)
	w.turn <- turn{entry: next} // it is in the queue, or the waiter puts it there
	return resp, err
}

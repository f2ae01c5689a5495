package lock

import (
	"context"
	"os"
	"slices"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/errtext"
	"github.com/etcdkit/etcdkit/internal/queue"
)

// Mutex is a lock in etcd, as this process sees it. Its methods may be called from any goroutine.
// Calls of one Mutex wait in this process, in the order in which they came; only the first of them
// waits in etcd.
type Mutex struct {
	lock
	local  Local
	linger time.Duration

	mu      sync.Mutex
	busy    bool  // a call holds it, or waits in etcd
	last    *Hold // the latest of this Mutex; nil: none yet
	waiters []*waiter
	kept    keptEntry // with Local or Linger
	ended   bool      // by Close
}

// waiter is a call that waits in this process.
type waiter struct {
	wanted []clientv3.Op
	turn   chan turn
}

// turn is what a waiter gets.
type turn struct {
	entry  *queue.Entry // that the release before put into the queue; nil: the waiter puts one there
	reused bool         // another call of this process held the entry: nothing was read with it
}

// New returns the lock of a name. It sends nothing. Locks of the same name exclude one another,
// clientv3/concurrency's Mutex and "etcdctl lock" included. With an invalid name or option each call
// returns ErrInvalid.
func New(cli *clientv3.Client, name string, opts *Options) *Mutex {
	var o Options
	if opts != nil {
		o = *opts
	}
	shared := &SharedOptions{TTL: o.TTL, Keeper: o.Keeper, Logger: o.Logger, Data: o.Data}
	return &Mutex{lock: newLock(cli, name, shared), local: o.Local, linger: o.Linger}
}

// Acquire waits until the lock is held. reads must be Gets. They are part of the request that finds
// out that the lock is held, so they cost no request: Hold.Reads has the answers, and no other
// holder of the lock has written since.
//
// When ctx ends first, the call leaves the queue in the background, and the error wraps ctx's cause.
// If the lease is lost while the call waits, the error is ErrLost: the lock is never acquired again
// for a caller that believes that it has waited all the time. Within Do of this lock, with its
// context, the error is ErrNested.
func (m *Mutex) Acquire(ctx context.Context, reads ...clientv3.Op) (*Hold, error) {
	if h := m.acquireKept(ctx, reads); h != nil {
		return h, nil
	}
	if err := m.nested(ctx, queue.Kind{}); err != nil {
		return nil, err
	}
	ctx, done, err := m.begin(ctx, "acquire", reads)
	if err != nil {
		return nil, err
	}
	defer done()
	e, err := m.handle.Wait("acquire", func() (*queue.Entry, error) { return m.await(ctx, reads) })
	if err != nil {
		return nil, err
	}
	return m.hold(e), nil
}

// await waits for the call's turn, in this process and then in etcd.
func (m *Mutex) await(ctx context.Context, reads []clientv3.Op) (*queue.Entry, error) {
	turn, err := m.waitLocal(ctx, reads)
	if err != nil {
		return nil, err
	}
	e := turn.entry
	if turn.reused {
		err = m.reread(ctx, e, reads)
	} else {
		e, err = m.reach(ctx, e, queue.Kind{}, reads)
	}
	if err != nil {
		m.wakeNext()
		return nil, err
	}
	return e, nil
}

// waitLocal waits for the call's turn in this process.
func (m *Mutex) waitLocal(ctx context.Context, wanted []clientv3.Op) (turn, error) {
	m.mu.Lock()
	if !m.busy {
		m.busy = true
		e := m.takeKept()
		m.mu.Unlock()
		return turn{e, e != nil}, nil
	}
	w := &waiter{wanted, make(chan turn, 1)}
	m.waiters = append(m.waiters, w)
	m.mu.Unlock()
	select {
	case t := <-w.turn:
		return t, nil
	case <-ctx.Done():
	}
	m.mu.Lock()
	at := slices.Index(m.waiters, w)
	if at >= 0 {
		m.waiters = slices.Delete(m.waiters, at, at+1)
	}
	m.mu.Unlock()
	if at < 0 { // the release before has taken it out of the waiters, and will send it its turn
		m.handle.Queue.Go(func() {
			if t := <-w.turn; t.entry != nil {
				m.remove(t.entry)
			}
			m.wakeNext()
		})
	}
	return turn{}, m.withLocalHolder(context.Cause(ctx))
}

// withLocalHolder adds to a call's error what the call waited for in this process.
func (m *Mutex) withLocalHolder(err error) error {
	m.mu.Lock()
	last := m.last
	m.mu.Unlock()
	switch {
	case last == nil || last.released.Load():
		return err // another call waits in etcd
	case last.lost():
		return errtext.Errorf("a hold of this process (pid %d), with token %d, is lost and has not been released: %w", os.Getpid(), last.Token(), err)
	}
	return errtext.Errorf("this process (pid %d) holds it, with token %d: %w", os.Getpid(), last.Token(), err)
}

// wakeNext gives the next waiter of this process its turn.
func (m *Mutex) wakeNext() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if w := m.nextWaiter(); w != nil {
		w.turn <- turn{}
		return
	}
	m.busy = false
}

// nextWaiter takes the first of the waiters, or returns nil. m.mu is held.
func (m *Mutex) nextWaiter() *waiter {
	if len(m.waiters) == 0 {
		return nil
	}
	w := m.waiters[0]
	m.waiters = m.waiters[1:]
	return w
}

// hold makes the hold of an entry that a call of this Mutex has acquired, or taken over.
func (m *Mutex) hold(e *queue.Entry) *Hold {
	h := newHold(&m.lock, e, m)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last = h
	m.keep(e)
	return h
}

// TryAcquire takes the lock if no other client holds it or waits for it, with one transaction.
// Otherwise the error is ErrTaken and names the holder, and nothing was written. A transaction that is
// not answered within 0.4 s is sent again, to another member. The first call of a lock also asks for a
// lease. When etcd does not answer, each of the two takes 2 s at most.
func (m *Mutex) TryAcquire(ctx context.Context) (*Hold, error) {
	ctx, done, err := m.begin(ctx, tryVerb(queue.Kind{}), nil)
	if err != nil {
		return nil, err
	}
	defer done()
	m.mu.Lock()
	busy := m.busy
	m.busy = true
	var e *queue.Entry
	if !busy {
		e = m.takeKept()
	}
	m.mu.Unlock()
	if busy {
		m.handle.Counters.Refused()
		return nil, m.takenLocally(tryVerb(queue.Kind{}))
	}
	if e == nil {
		if e, err = m.tryEnter(ctx, queue.Kind{}); err != nil {
			m.wakeNext()
			return nil, err
		}
	}
	return m.hold(e), nil
}

// takenLocally is the error of a call that does not wait for another one of this process.
func (m *Mutex) takenLocally(verb string) error {
	m.mu.Lock()
	last := m.last
	m.mu.Unlock()
	if last != nil && !last.released.Load() && last.lost() {
		return m.handle.Errorf(verb, "%w by a hold of this process (pid %d) that is lost and has not been released", ErrTaken, os.Getpid())
	}
	return m.handle.Errorf(verb, "%w by this process (pid %d)", ErrTaken, os.Getpid())
}

// Do holds the lock while it calls f. The ctx of f ends with cause ErrLost when the lock is lost. Do
// returns the error of f, and ErrLost if the lock was lost meanwhile.
//
// When f has returned, Do releases the lock, as Release does without a deadline. Once ctx has ended,
// that takes 2 s at most while etcd cannot be reached, together with the Close of all handles of the
// client.
func (m *Mutex) Do(ctx context.Context, f func(context.Context, *Hold) error) error {
	return do(ctx, toWrite, m.Acquire, f)
}

// Close ends the lock. Calls that wait return ErrClosed and leave the queue. Release holds before: a
// hold that is not released is lost, and its entry is removed. While etcd cannot be reached, Close takes
// 2 s at most, together with the Close of all other handles of the client, and what is left in etcd ends
// with its lease. Close is idempotent.
func (m *Mutex) Close() error {
	m.endKept()
	return m.lock.Close()
}

// Shutdown is Close with the caller's bound: it returns when ctx ends at the latest, and as soon as
// etcd has answered. What it has no time for ends with its lease. Of Close and Shutdown only the first
// call counts.
func (m *Mutex) Shutdown(ctx context.Context) error {
	m.endKept()
	return m.lock.Shutdown(ctx)
}

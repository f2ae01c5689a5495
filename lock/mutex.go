package lock

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/queue"
	"github.com/etcdkit/etcdkit/lease"
)

// Mutex is a lock in etcd, as this process sees it. Its methods may be called from any goroutine;
// those of one Mutex wait in this process, in the order in which they came, and one of them at a
// time in etcd.
type Mutex struct {
	lock
	local  Local
	linger time.Duration

	mu    sync.Mutex
	busy  bool  // a call holds it, or waits in etcd
	last  *Hold // the latest of this Mutex; nil: none yet
	line  []*waiter
	kept  kept
	ended bool // by Close
}

// waiter waits in this process.
type waiter struct {
	wanted []clientv3.Op
	turn   chan turn
}

// turn is what a waiter gets.
type turn struct {
	entry *queue.Entry // nil: it has to make one
	again bool         // it was another's of this process before: nothing was read with it
}

// New returns the lock of a name. It sends nothing. Locks of the same name exclude one another,
// clientv3/concurrency's Mutex and "etcdctl lock" included. A name that is not one is ErrInvalid
// from the first call.
func New(cli *clientv3.Client, name string, opts *Options) *Mutex {
	var o Options
	if opts != nil {
		o = *opts
	}
	shared := &SharedOptions{TTL: o.TTL, Keeper: o.Keeper, Logger: o.Logger, Data: o.Data}
	return &Mutex{lock: newLock(cli, name, shared), local: o.Local, linger: o.Linger}
}

// Acquire waits until the lock is held. reads, which are Gets, ride on the request that finds that
// out, so that they cost nothing: what they saw is in Hold.Reads, and no other holder of the
// lock has written since.
//
// When ctx ends first, the place in the queue is given up in the background, and the error wraps
// its cause. A lease that is lost while waiting is ErrLost: the lock is never taken anew for a
// caller that believes it has waited all the time. Within Do of this lock, with its context, it is
// ErrNested.
func (m *Mutex) Acquire(ctx context.Context, reads ...clientv3.Op) (*Hold, error) {
	if h := m.quick(ctx, reads); h != nil {
		return h, nil
	}
	if err := m.nested(ctx); err != nil {
		return nil, err
	}
	ctx, done, err := m.begin(ctx, reads)
	if err != nil {
		return nil, err
	}
	defer done()
	waits := m.wait()
	e, err := m.await(ctx, reads)
	waits.over(err)
	if err != nil {
		return nil, m.explain("acquire", err)
	}
	return m.hold(e), nil
}

// await waits until it is the caller's turn, in this process and in etcd.
func (m *Mutex) await(ctx context.Context, reads []clientv3.Op) (*queue.Entry, error) {
	turn, err := m.front(ctx, reads)
	if err != nil {
		return nil, err
	}
	e := turn.entry
	if turn.again {
		err = m.again(ctx, e, reads)
	} else {
		e, err = m.queue.Reach(ctx, e, func(l *lease.Lease) *queue.Entry { return m.prepare(l, queue.Kind{}, reads) })
	}
	if err != nil {
		m.pass()
		return nil, err
	}
	return e, nil
}

// front waits until it is the caller's turn in this process.
func (m *Mutex) front(ctx context.Context, wanted []clientv3.Op) (turn, error) {
	m.mu.Lock()
	if !m.busy {
		m.busy = true
		e := m.lingering()
		m.mu.Unlock()
		return turn{e, e != nil}, nil
	}
	w := &waiter{wanted, make(chan turn, 1)}
	m.line = append(m.line, w)
	m.mu.Unlock()
	select {
	case t := <-w.turn:
		return t, nil
	case <-ctx.Done():
	}
	m.mu.Lock()
	at := slices.Index(m.line, w)
	if at >= 0 {
		m.line = slices.Delete(m.line, at, at+1)
	}
	m.mu.Unlock()
	if at < 0 { // its turn comes, with the answer to the release before
		m.queue.Go(func() {
			if t := <-w.turn; t.entry != nil {
				m.discard(t.entry)
			}
			m.pass()
		})
	}
	return turn{}, m.inTheWay(context.Cause(ctx))
}

// inTheWay adds to an error of a call what it waited for in this process.
func (m *Mutex) inTheWay(err error) error {
	m.mu.Lock()
	last := m.last
	m.mu.Unlock()
	switch {
	case last == nil || last.left.Load():
		return err // another call waits in etcd
	case last.lost():
		return fmt.Errorf("a hold of this process (pid %d), with token %d, is lost and has not been released: %w", os.Getpid(), last.Token(), err)
	}
	return fmt.Errorf("this process (pid %d) holds it, with token %d: %w", os.Getpid(), last.Token(), err)
}

// pass lets the next one in this process have its turn.
func (m *Mutex) pass() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if w := m.next(); w != nil {
		w.turn <- turn{}
		return
	}
	m.busy = false
}

// next takes the first waiter out of the line. m.mu is held.
func (m *Mutex) next() *waiter {
	if len(m.line) == 0 {
		return nil
	}
	w := m.line[0]
	m.line = m.line[1:]
	return w
}

// TryAcquire takes the lock if no other client holds it or waits for it, with one transaction, and is
// ErrTaken otherwise, having written nothing. The error names the holder. A transaction that is not
// answered within 0.4 s is sent again, to another member. The first call of a lock also asks for a
// lease. When etcd does not answer, each of the two takes 2 s at most.
func (m *Mutex) TryAcquire(ctx context.Context) (*Hold, error) {
	ctx, done, err := m.begin(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer done()
	m.mu.Lock()
	busy := m.busy
	m.busy = true
	var e *queue.Entry
	if !busy {
		e = m.lingering()
	}
	m.mu.Unlock()
	if busy {
		m.figures.Refused()
		return nil, m.takenHere()
	}
	if e == nil {
		if e, err = m.enter(ctx, queue.Kind{}); err != nil {
			m.pass()
			return nil, err
		}
	}
	return m.hold(e), nil
}

// takenHere is the error of a call that does not wait for another one of this process.
func (m *Mutex) takenHere() error {
	m.mu.Lock()
	last := m.last
	m.mu.Unlock()
	if last != nil && !last.left.Load() && last.lost() {
		return fmt.Errorf("%w: %q, by a hold of this process (pid %d) that is lost and has not been released", ErrTaken, m.name, os.Getpid())
	}
	return fmt.Errorf("%w: %q, by this process (pid %d)", ErrTaken, m.name, os.Getpid())
}

// Do holds the lock while it calls f, whose ctx ends with cause ErrLost when the lock is lost.
// The error is f's, and ErrLost if the lock was lost meanwhile.
//
// When f has returned, the lock is released, as by Release without a deadline; once ctx has ended that
// shares the 2 s which Close takes at most while etcd cannot be reached.
func (m *Mutex) Do(ctx context.Context, f func(context.Context, *Hold) error) error {
	h, err := m.Acquire(ctx)
	if err != nil {
		return err
	}
	return h.do(ctx, toWrite, f)
}

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
	busy  bool // somebody holds it, or waits in etcd
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
// clientv3/concurrency's Mutex and "etcdctl lock" included. A name that is not one is ErrName
// from the first call.
func New(cli *clientv3.Client, name string, opts *Options) *Mutex {
	m := &Mutex{lock: newLock(cli, name, opts)}
	if opts != nil {
		m.local, m.linger = opts.Local, opts.Linger
	}
	return m
}

// Acquire waits until the lock is held. reads, which are Gets, ride on the request that finds that
// out, so that they cost nothing: what they saw is in Hold.Reads, and nobody else who holds the
// lock has written since.
//
// When ctx ends first, the place in the queue is given up in the background, and the error wraps
// its cause. A lease that is lost while waiting is ErrLost: the lock is never taken anew for a
// caller who believes to have waited all the time. Within Do of this lock, with its context, it is
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
	turn, err := m.front(ctx, reads)
	if err != nil {
		return nil, m.explain("acquire", err)
	}
	e := turn.entry
	if turn.again {
		err = m.again(ctx, e, reads)
	} else {
		e, err = m.queue.Reach(ctx, e, func(l *lease.Lease) *queue.Entry { return m.prepare(l, queue.Kind{}, reads) })
	}
	if err != nil {
		m.pass()
		return nil, m.explain("acquire", err)
	}
	return m.hold(e), nil
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
	return turn{}, context.Cause(ctx)
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

// TryAcquire takes the lock if nobody holds it or waits for it, with one request, and is ErrTaken
// otherwise, having written nothing. The error names the owner.
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
		return nil, fmt.Errorf("%w: %q, by this process (pid %d)", ErrTaken, m.name, os.Getpid())
	}
	if e == nil {
		if e, err = m.enter(ctx, queue.Kind{}); err != nil {
			m.pass()
			return nil, err
		}
	}
	return m.hold(e), nil
}

// Do holds the lock while it calls f, whose ctx ends with cause ErrLost when the lock is lost.
// The error is f's, and ErrLost if the lock was lost meanwhile.
func (m *Mutex) Do(ctx context.Context, f func(context.Context, *Hold) error) error {
	h, err := m.Acquire(ctx)
	if err != nil {
		return err
	}
	return h.do(ctx, toWrite, f)
}

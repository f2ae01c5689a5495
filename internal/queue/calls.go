package queue

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/ask"
	"github.com/etcdkit/etcdkit/lease"
)

var (
	// ErrClosed: the queue was closed.
	ErrClosed = errors.New("closed")
	// ErrClient: the etcd client was closed, which ends all that stands on it.
	ErrClient = ask.ErrClosed
)

// Queue is one name's, as one process sees it. Its methods may be called from any goroutine.
type Queue struct {
	cli    *clientv3.Client
	hub    *hub
	keeper *lease.Keeper // of all entries' leases; it knows which keys are taken
	own    bool          // the Keeper is the queue's to close
	prefix string
	once   sync.Once // of Shutdown
	ended  error     // what it returned

	calling sync.WaitGroup  // calls that have not returned; none begins once closed
	calls   context.Context // ends with Close, with cause ErrClosed, and with the client, with ErrClient
	endAll  context.CancelCauseFunc
	life    context.Context // of what goes on in the background
	end     context.CancelFunc
	owned   context.Context // ends with Close if the leases do
	disown  context.CancelFunc
	client  func() bool // stops waiting for the client's end; nil: nobody called yet

	answers atomic.Int64 // of etcd, about entries that leave

	mu *sync.Mutex // the hub's

	// Guarded by mu.
	view     *view // nil: not used yet
	holds    map[*Hold]struct{}
	closed   bool
	running  int           // goroutines
	quiet    chan struct{} // closed when none is running and none is wanted; nil: some may be
	removing int           // entries, in the background; it outlives the queue where their leases do
	removed  chan struct{} // closed and replaced when there is none
}

// New returns a Queue of entries on the leases of a Keeper; without one it has its own, with a TTL.
// It sends nothing.
func New(cli *clientv3.Client, name string, keeper *lease.Keeper, ttl time.Duration) *Queue {
	h := hubOf(cli)
	q := &Queue{
		cli: cli, hub: h, mu: &h.mu, keeper: keeper, own: keeper == nil, prefix: name + "/",
		holds: make(map[*Hold]struct{}), removed: make(chan struct{}),
	}
	if q.own {
		q.keeper = lease.NewKeeper(cli, &lease.Options{TTL: ttl})
	}
	q.calls, q.endAll = context.WithCancelCause(context.Background())
	q.life, q.end = context.WithCancel(context.Background())
	q.owned, q.disown = context.WithCancel(context.Background())
	return q
}

// viewed is the queue's view, from now on. mu is held.
func (q *Queue) viewed() *view {
	if q.view == nil {
		q.view = q.hub.viewOf(q)
	}
	return q.view
}

// Lease returns a live one for an entry that is not to wait; see lease.Keeper.TryLease.
func (q *Queue) Lease(ctx context.Context) (*lease.Lease, error) { return q.keeper.TryLease(ctx) }

// Begin records a call, which Close ends, with cause ErrClosed, and the end of the client, with cause
// ErrClient. Close waits for it; done must be called when it returns.
func (q *Queue) Begin(ctx context.Context) (_ context.Context, done func(), err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.closed:
		return nil, nil, ErrClosed
	case q.hub.gone():
		return nil, nil, ErrClient
	case q.client == nil:
		q.client = context.AfterFunc(q.cli.Ctx(), func() {
			q.endAll(ErrClient)
			q.end()
		})
	}
	q.calling.Add(1)
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(q.calls, func() { cancel(context.Cause(q.calls)) })
	return ctx, func() {
		stop()
		cancel(nil)
		q.calling.Done()
	}, nil
}

// Closed is ErrClosed or ErrClient once it is so.
func (q *Queue) Closed() error {
	if err := context.Cause(q.calls); err != nil {
		return err
	}
	if q.hub.gone() {
		return ErrClient
	}
	return nil
}

// Close is Shutdown within the bound that all handles of a client share, of 2 s.
func (q *Queue) Close() error {
	ctx, done := q.farewell(context.Background())
	defer done()
	return q.Shutdown(ctx)
}

// farewell returns a context with the bound that all handles of a client share; see ask.Client.Farewell.
func (q *Queue) farewell(ctx context.Context) (_ context.Context, done func()) {
	etcd := ask.Of(q.cli)
	ctx, end := etcd.Farewell(ctx)
	before := q.answers.Load()
	return ctx, func() {
		if q.answers.Load() > before {
			etcd.Answered()
		}
		end()
	}
}

// leaving returns a context for giving up what is held, whether ctx has ended or not. From when it has,
// the process may be about to end: then the bound of closing applies.
func (q *Queue) leaving(ctx context.Context) (_ context.Context, done func()) {
	left, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { // ends with done
		defer close(ended)
		bound, end := q.farewell(left)
		defer end()
		<-bound.Done()
		cancel(context.Cause(bound))
	})
	return left, func() {
		cancel(nil)
		if !stop() {
			<-ended
		}
	}
}

// Shutdown ends the calls, and what goes on in the background; with its own Keeper the leases, too, and
// all that is on them. Beside a shared one holds that were not given up are lost, and their entries
// are removed; what ctx does not leave time for goes on being removed until it is gone or its lease.
// It is idempotent.
func (q *Queue) Shutdown(ctx context.Context) error {
	q.once.Do(func() { q.ended = q.shutdown(ctx) })
	return q.ended
}

func (q *Queue) shutdown(ctx context.Context) error {
	q.mu.Lock()
	q.closed = true
	stop := q.client
	q.mu.Unlock()
	if stop != nil {
		stop()
	}
	q.endAll(ErrClosed)
	q.calling.Wait()
	if !q.own {
		q.giveUp()
	}
	if q.own {
		q.disown() // what is still leaving need not wait for an answer
	}
	q.settleDown(ctx)
	if q.own {
		return q.keeper.Shutdown(ctx)
	}
	q.awaitRemovals(ctx)
	return nil
}

// giveUp ends the holds that are left, and removes their entries.
func (q *Queue) giveUp() {
	q.mu.Lock()
	left := slices.Collect(maps.Keys(q.holds))
	q.mu.Unlock()
	for _, h := range left {
		if h.StartEnd() {
			_ = h.lose(ErrClosed)
			q.Remove(h.entry)
		}
	}
}

// settleDown ends what goes on in the background, and waits for it. What has not ended when ctx does
// ends with bounds of its own.
func (q *Queue) settleDown(ctx context.Context) {
	q.end()
	quiet := make(chan struct{})
	q.mu.Lock()
	if q.quiet = quiet; q.running == 0 {
		close(quiet)
	}
	v := q.view
	q.mu.Unlock()
	select {
	case <-quiet:
	case <-ctx.Done():
	}
	if v == nil {
		return
	}
	for _, done := range v.leave(q) {
		<-done
	}
}

// awaitRemovals waits for what is being removed, but not for ever.
func (q *Queue) awaitRemovals(ctx context.Context) {
	for {
		q.mu.Lock()
		left, removed := q.removing, q.removed
		q.mu.Unlock()
		if left == 0 {
			return
		}
		select {
		case <-removed:
		case <-ctx.Done():
			return
		}
	}
}

// Go runs f in the background. Close waits for it.
func (q *Queue) Go(f func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.start(f)
}

// start is Go. q.mu is held.
func (q *Queue) start(f func()) {
	q.running++
	go func() { // ends with Close
		f()
		q.mu.Lock()
		defer q.mu.Unlock()
		if q.running--; q.running == 0 && q.quiet != nil {
			select {
			case <-q.quiet: // something was started after Close
			default:
				close(q.quiet)
			}
		}
	}()
}

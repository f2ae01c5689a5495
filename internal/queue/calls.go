package queue

import (
	"context"
	"errors"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/lease"
)

// ErrClosed: the queue was closed.
var ErrClosed = errors.New("queue: closed")

// closePatience is for what is to be removed from etcd before Close returns, if its lease goes on.
const closePatience = 3 * time.Second

// Queue is one name's, as one process sees it. Its methods may be called from any goroutine.
type Queue struct {
	cli    *clientv3.Client
	keeper *lease.Keeper // of all entries' leases; it knows which keys are taken
	own    bool          // the Keeper is the queue's to close
	prefix string
	close  func() error

	mu      sync.Mutex
	waiting map[*Entry]struct{} // that listen to the ear
	ear     *ear                // nil: closed
	streams int                 // watch streams that were given up
	closed  bool

	calling sync.WaitGroup  // calls that have not returned; none begins once closed
	calls   context.Context // ends with Close, with cause ErrClosed
	endAll  context.CancelCauseFunc
	life    context.Context // of watches
	end     context.CancelFunc
	owned   context.Context // ends with Close if the leases do
	disown  context.CancelFunc

	// Guarded by mu.
	running  int           // goroutines
	quiet    chan struct{} // closed when none is running and none is wanted; nil: some may be
	removing int           // entries, in the background; it outlives the queue where their leases do
	removed  chan struct{} // closed and replaced when there is none
}

// New returns a Queue of entries on the leases of a Keeper; without one it has its own, with a TTL.
// It sends nothing.
func New(cli *clientv3.Client, name string, keeper *lease.Keeper, ttl time.Duration) *Queue {
	q := &Queue{cli: cli, keeper: keeper, own: keeper == nil, prefix: name + "/", waiting: make(map[*Entry]struct{}), removed: make(chan struct{})}
	if q.own {
		q.keeper = lease.NewKeeper(cli, &lease.Options{TTL: ttl})
	}
	q.calls, q.endAll = context.WithCancelCause(context.Background())
	q.life, q.end = context.WithCancel(context.Background())
	q.owned, q.disown = context.WithCancel(context.Background())
	q.close = sync.OnceValue(q.shutdown)
	return q
}

// Lease returns a live one for an entry.
func (q *Queue) Lease(ctx context.Context) (*lease.Lease, error) { return q.keeper.Lease(ctx) }

// Begin takes note of a call, which Close ends, with cause ErrClosed, and waits for; done is to be
// called when it returns.
func (q *Queue) Begin(ctx context.Context) (_ context.Context, done func(), err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return nil, nil, ErrClosed
	}
	q.calling.Add(1)
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(q.calls, func() { cancel(ErrClosed) })
	return ctx, func() {
		stop()
		cancel(nil)
		q.calling.Done()
	}, nil
}

// Closed is ErrClosed once it is so.
func (q *Queue) Closed() error { return context.Cause(q.calls) }

// Close ends the calls, and what goes on in the background; with its own Keeper the leases, too, and
// all that is on them. Beside a shared one entries that are being removed have a few seconds to be
// so, and then go on being removed until they or their leases are gone. It is idempotent.
func (q *Queue) Close() error { return q.close() }

func (q *Queue) shutdown() error {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.endAll(ErrClosed)
	q.calling.Wait()
	q.settleDown()
	if q.own {
		q.disown()
		return q.keeper.Close()
	}
	q.awaitRemovals()
	return nil
}

// settleDown ends what goes on in the background, and waits for it.
func (q *Queue) settleDown() {
	q.end()
	quiet := make(chan struct{})
	q.mu.Lock()
	if q.quiet = quiet; q.running == 0 {
		close(quiet)
	}
	q.mu.Unlock()
	<-quiet
}

// awaitRemovals waits for what is being removed, but not for ever.
func (q *Queue) awaitRemovals() {
	t := time.NewTimer(closePatience)
	defer t.Stop()
	for {
		q.mu.Lock()
		left, removed := q.removing, q.removed
		q.mu.Unlock()
		if left == 0 {
			return
		}
		select {
		case <-removed:
		case <-t.C:
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

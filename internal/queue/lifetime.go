package queue

import (
	"context"
	"maps"
	"slices"
	"sync"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/ask"
)

// lifetime is the time from New to Close. Calls, and what goes on in the background, end with it.
type lifetime struct {
	etcd          context.Context // ends with the client
	calls         context.Context // ends with Close, with cause ErrClosed, and with the client, with ErrClient
	endCalls      context.CancelCauseFunc
	background    context.Context // of what goes on in the background
	endBackground context.CancelFunc
	leases        context.Context // ends with Close if the leases do
	endLeases     context.CancelFunc
	started       sync.WaitGroup // calls that have not returned; none begins once closed

	mu         sync.Mutex
	closed     bool
	stopClient func() bool // stops waiting for the client's end; nil: there was no call yet
}

func (l *lifetime) begin(cli *clientv3.Client) {
	l.etcd = cli.Ctx()
	l.calls, l.endCalls = context.WithCancelCause(context.Background())
	l.background, l.endBackground = context.WithCancel(context.Background())
	l.leases, l.endLeases = context.WithCancel(context.Background())
}

// Begin records a call, which Close ends, with cause ErrClosed, and the end of the client, with cause
// ErrClient. Close waits for it; done must be called when it returns.
func (l *lifetime) Begin(ctx context.Context) (_ context.Context, done func(), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return nil, nil, ErrClosed
	case l.etcd.Err() != nil:
		return nil, nil, ErrClient
	case l.stopClient == nil:
		l.stopClient = context.AfterFunc(l.etcd, func() {
			l.endCalls(ErrClient)
			l.endBackground()
		})
	}
	l.started.Add(1)
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(l.calls, func() { cancel(context.Cause(l.calls)) })
	return ctx, func() {
		stop()
		cancel(nil)
		l.started.Done()
	}, nil
}

// BeginShort is Begin for a call that waits for nothing, and so needs no context. It is false once
// nothing may begin any more.
func (l *lifetime) BeginShort() (done func(), ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.etcd.Err() != nil {
		return nil, false
	}
	l.started.Add(1)
	return l.started.Done, true
}

// Closed is ErrClosed or ErrClient once it is so.
func (l *lifetime) Closed() error {
	if err := context.Cause(l.calls); err != nil {
		return err
	}
	if l.etcd.Err() != nil {
		return ErrClient
	}
	return nil
}

// close ends the calls, and waits until they have returned.
func (l *lifetime) close() {
	l.mu.Lock()
	l.closed = true
	stop := l.stopClient
	l.mu.Unlock()
	if stop != nil {
		stop()
	}
	l.endCalls(ErrClosed)
	l.started.Wait()
}

// Close is Shutdown within the bound that all handles of a client share, of 2 s.
func (q *Queue) Close() error {
	ctx, done := q.closingContext(context.Background())
	defer done()
	return q.Shutdown(ctx)
}

// Shutdown ends the calls, and what goes on in the background. With the queue's own Keeper the leases
// end, too, and all that is on them. With a shared one the holds that were not given up are lost, and
// their entries are removed; what ctx does not leave time for goes on being removed until it is gone,
// or its lease. Shutdown waits for the revoking of leases that no Keeper knows, see RevokeLater; after that
// the Keeper revokes its own. It is idempotent.
func (q *Queue) Shutdown(ctx context.Context) error {
	q.once.Do(func() { q.closeErr = q.shutdown(ctx) })
	return q.closeErr
}

func (q *Queue) shutdown(ctx context.Context) error {
	q.lifetime.close()
	if q.own {
		q.endLeases() // what is still leaving need not wait for an answer
	} else {
		q.loseHolds()
	}
	q.endBackground()
	q.running.wait(ctx) // what has not ended when ctx does ends with bounds of its own
	if v := q.used.Load(); v != nil {
		v.leave()
	}
	q.revocations.wait(ctx)
	if q.own {
		return q.keeper.Shutdown(ctx)
	}
	q.removals.wait(ctx)
	return nil
}

// loseHolds ends the holds that are left, and removes their entries.
func (q *Queue) loseHolds() {
	v := q.used.Load()
	if v == nil {
		return
	}
	v.mu.Lock()
	left := slices.Collect(maps.Keys(q.holds))
	v.mu.Unlock()
	for _, h := range left {
		if h.loseUnlessEnding(ErrClosed) {
			q.RemoveLater(h.entry)
		}
	}
}

// closingContext returns a context with the bound that all handles of a client share; see
// ask.Client.ClosingContext.
func (q *Queue) closingContext(ctx context.Context) (_ context.Context, done func()) {
	etcd := ask.Of(q.cli)
	ctx, end := etcd.ClosingContext(ctx)
	before := q.answers.Load()
	return ctx, func() {
		if q.answers.Load() > before {
			etcd.Answered()
		}
		end()
	}
}

// releaseContext returns a context for giving up what is held, whether ctx has ended or not. From when
// it has, the process may be about to end: then the bound of closing applies.
func (q *Queue) releaseContext(ctx context.Context) (_ context.Context, done func()) {
	left, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { // ends with done
		defer close(ended)
		bound, end := q.closingContext(left)
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

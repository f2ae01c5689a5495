package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/place"
	"github.com/etcdkit/etcdkit/doctor"
	"github.com/etcdkit/etcdkit/internal/errtext"
	"github.com/etcdkit/etcdkit/internal/quote"
	"github.com/etcdkit/etcdkit/lock"
)

// anyLock is a lock of any kind. Its Closer is the lock itself.
type anyLock struct {
	wait func(context.Context, ...clientv3.Op) (*lock.Hold, error)
	try  func(context.Context) (*lock.Hold, error)
	io.Closer
}

// open returns the lock that the flags mean. It sends nothing.
func (f *lockFlags) open(cli *clientv3.Client, name string, opts *lock.SharedOptions) anyLock {
	switch {
	case f.shared:
		m := lock.NewRW(cli, name, opts)
		return anyLock{m.AcquireRead, m.TryAcquireRead, m}
	case f.n > 0:
		s := lock.NewSemaphore(cli, name, f.n, opts)
		return anyLock{s.Acquire, s.TryAcquire, s}
	}
	m := lock.New(cli, name, &lock.Options{TTL: opts.TTL, Logger: opts.Logger, Data: opts.Data})
	return anyLock{m.Acquire, m.TryAcquire, m}
}

// bounded ends a context after --timeout.
func (f *lockFlags) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if f.timeout <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, f.timeout, errWaited)
}

// errWaited is the cause of a wait that --timeout ended.
var errWaited = errors.New("the time of --timeout is over")

// findForLock connects. If no member answers it tries again as long as --timeout permits; without it a run by cron must
// end.
func (a *app) findForLock(ctx context.Context, f *lockFlags, cluster *place.Flags) (*place.Place, error) {
	switch {
	case f.nonblock:
		p, err := place.Find(ctx, cluster, a.stdin)
		return p, unreachable(err)
	case f.timeout <= 0:
		p, err := a.findAndSay(ctx, cluster)
		return p, unreachable(err)
	}
	p, err := a.reach(ctx, cluster, func(err error) {
		a.out.Talkf("etcdkit: %s; trying again until the time of --timeout is over", a.describe(err))
	})
	if err != nil && errors.Is(context.Cause(ctx), errWaited) {
		return nil, fmt.Errorf("%w: %w", errWaited, err)
	}
	return p, unreachable(err)
}

// acquire waits for a lock, or tries once. A wait that lost its lease, as etcd was away, begins again: nothing has
// relied on it yet.
func (a *app) acquire(ctx context.Context, l anyLock, once bool) (*lock.Hold, error) {
	if once {
		return l.try(ctx)
	}
	for {
		hold, err := l.wait(ctx)
		if !errors.Is(err, lock.ErrLost) || ctx.Err() != nil {
			return hold, err
		}
		a.out.Talkf("etcdkit: the place in the queue is lost, and the wait begins again: %s", errtext.Text(err))
	}
}

// holderTimeout bounds the question which process has the lock, after a wait that --timeout ended.
const holderTimeout = time.Second

// withHolder says which processes hold the lock instead of what an errWaited says, if etcd tells, or why etcd does not
// answer. Other errors stay as they are.
func withHolder(ctx context.Context, cli *clientv3.Client, name string, err error) error {
	if !errors.Is(err, errWaited) {
		return err
	}
	unbounded := ctx
	ctx, cancel := context.WithTimeout(ctx, holderTimeout)
	defer cancel()
	queue, failed := lock.Entries(ctx, cli, name, nil)
	if failed != nil {
		if why := doctor.Cause(unbounded, cli, &doctor.Options{Timeout: causeTimeout}); why != nil {
			return fmt.Errorf("lock %s: %w: %w", quote.Text(name), errWaited, noAnswer(why))
		}
	}
	if failed != nil || len(queue.Entries) == 0 || queue.Entries[0].Status != lock.Holds {
		return err
	}
	more := ""
	if n := holders(queue); n > 1 {
		more = fmt.Sprintf(" and %d more", n-1)
	}
	return fmt.Errorf("lock %s: %w; it is held by %s%s", quote.Text(name), errWaited, queue.Entries[0], more)
}

// notAcquired gives the error of a lock that was not acquired its exit code.
func notAcquired(err error) error {
	if errors.Is(err, lock.ErrTaken) || errors.Is(err, errWaited) {
		return coded(ExitNotAcquired, err)
	}
	return lockError(err)
}

// lockError gives a mistake in a name its exit code.
func lockError(err error) error {
	if errors.Is(err, lock.ErrInvalid) {
		return &usageError{err}
	}
	return err
}

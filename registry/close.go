package registry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/etcdkit/etcdkit/internal/errtext"
	"github.com/etcdkit/etcdkit/internal/quote"
	"github.com/etcdkit/etcdkit/lease"
)

// Close withdraws all instances: they say draining first, then their keys are deleted. Checks end
// before that, within a moment; Close waits 1 s for one that ignores its context. Then Close takes as
// long as etcd answers, and 2 s at most while it does not, together with everything else that is closed on
// the same client. It is idempotent. Shutdown is Close with a bound of the caller's.
//
// The error says which keys are still in etcd and until when: a key that could not be deleted ends
// with its lease. On a shared Keeper, whose leases live on, the registrar goes on trying in the
// background until the keys are gone, or the leases.
func (r *Registrar) Close() error {
	ctx, done := r.table.etcd.ClosingContext(context.Background())
	defer done()
	return r.Shutdown(ctx)
}

// Shutdown is Close that waits for etcd until ctx ends, and no longer. Of several calls of Close
// and Shutdown the first one's bound counts; the others return its result, or when their ctx ends.
func (r *Registrar) Shutdown(ctx context.Context) error {
	return r.closer.once.do(ctx, "close", func() error { return r.closer.shutdown(ctx) })
}

// closer ends a Registrar: checks, then entries, then the worker, then a Keeper of its own.
type closer struct {
	table     *table
	checks    *checks
	worker    *worker
	keeper    *lease.Keeper
	ownKeeper bool          // the Keeper's leases end with the registrar
	ttl       time.Duration // of its leases, if it is the registrar's own. table.mu guards it
	once      firstCall
}

func (c *closer) shutdown(ctx context.Context) error {
	c.stopChecks()
	remaining, err := c.withdrawAll(ctx)
	if c.ownKeeper {
		return c.closeKeeper(ctx, remaining, err)
	}
	c.table.mu.Lock()
	c.table.closeReturned = true
	c.table.mu.Unlock()
	if len(remaining) > 0 {
		c.table.wakeWorker()
		return c.remainingError(remaining, err)
	}
	c.worker.end()
	return nil
}

// stopChecks ends all checks; from here on nothing can be added.
func (c *closer) stopChecks() {
	c.table.mu.Lock()
	close(c.table.addsClosed)
	c.table.mu.Unlock()
	c.checks.stop(c.table.all()...)
	c.checks.running.Wait()
}

// withdrawAll withdraws all entries. It returns those that it could not, and why.
func (c *closer) withdrawAll(ctx context.Context) (remaining []*entry, err error) {
	t := c.table
	t.mu.Lock()
	t.closing = true
	t.mu.Unlock()
	all := t.all()
	t.startWithdraw(all...)
	t.wakeWorker()          // without entries nothing else does
	for _, e := range all { // once ctx has ended the rest takes no time
		if failed := t.waitGone(ctx, e); failed != nil {
			remaining, err = append(remaining, e), cmp.Or(err, failed)
		}
	}
	return remaining, err
}

// closeKeeper ends the worker and the leases, and with them the keys of entries that remain.
func (c *closer) closeKeeper(ctx context.Context, remaining []*entry, err error) error {
	t := c.table
	c.worker.end()
	t.mu.Lock()
	for _, l := range c.keeper.Stats().Leases {
		c.ttl = max(c.ttl, l.TTL) // etcd can grant more than was asked for
	}
	t.mu.Unlock()
	closed := c.keeper.Shutdown(ctx)
	t.mu.Lock()
	remaining = slices.DeleteFunc(remaining, func(e *entry) bool {
		return e.neverWritten() || t.etcd.Err() == nil && closed == nil && e.leasesRevoked()
	})
	t.mu.Unlock()
	if len(remaining) == 0 && closed != nil {
		return errtext.Errorf("registry: close its Keeper: %w", oneLine(closed))
	}
	if len(remaining) == 0 {
		return nil
	}
	if closed != nil && ctx.Err() == nil { // otherwise it says the same
		err = errtext.Errorf("%w; %w", err, oneLine(closed))
	}
	return c.remainingError(remaining, err)
}

// oneLine is an error, which may be several that were joined, on one line.
func oneLine(err error) error {
	return errtext.New(strings.ReplaceAll(errtext.Text(err), "\n", "; "), err)
}

// remainingError is the error of keys that were not withdrawn: which, why, and how long they can stay.
func (c *closer) remainingError(remaining []*entry, err error) error {
	slices.SortFunc(remaining, func(a, b *entry) int { return strings.Compare(a.key, b.key) })
	var keys []string
	for _, e := range remaining {
		keys = append(keys, e.key)
	}
	return errtext.Errorf("registry: withdraw %s: %w; %s", quote.Joined(keys, 5), err, c.stayUntil(remaining))
}

// stayUntil says how long keys that were not deleted can stay.
func (c *closer) stayUntil(remaining []*entry) string {
	e := remaining[0]
	c.table.mu.Lock()
	defer c.table.mu.Unlock()
	ttl := "a TTL"
	ending := c.ownKeeper && c.table.closing // its Keeper grants no other lease, and does not keep this one alive
	if c.ownKeeper {
		ttl = c.ttl.String()
	}
	l := cmp.Or(e.writtenOn, e.lease)
	if n := len(e.unansweredOn); n > 0 {
		l = e.unansweredOn[n-1]
	}
	if l == nil {
		return "what was written may stay in etcd"
	}
	stays, its, ends := "it stays", "its", fmt.Sprintf("lease %x ends", int64(l.ID()))
	if len(remaining) > 1 {
		stays, its, ends = "they stay", "their", "leases end"
	}
	if ending || l.Err() != nil {
		return fmt.Sprintf("in etcd %s until %s %s, at the latest %s after etcd is back", stays, its, ends, ttl)
	}
	return fmt.Sprintf("in etcd %s until another try succeeds, or %s Keeper's %s", stays, its, ends)
}

// firstCall does something once. Further calls wait for the first one's result.
type firstCall struct {
	mu   sync.Mutex
	done chan struct{} // closed when err is the result; nil before the first call
	err  error
}

func (f *firstCall) do(ctx context.Context, what string, work func() error) error {
	f.mu.Lock()
	first := f.done == nil
	if first {
		f.done = make(chan struct{})
	}
	f.mu.Unlock()
	if first {
		f.err = errors.New("registry: " + what + ": the first call did not return: it panicked")
		defer close(f.done)
		f.err = work()
		return f.err
	}
	select {
	case <-f.done: // also when ctx has ended
		return f.err
	default:
	}
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		return errtext.Errorf("registry: %s: another call has not returned yet: %w", what, context.Cause(ctx))
	}
}

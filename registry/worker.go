package registry

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/etcdkit/etcdkit/internal/ask"
	"github.com/etcdkit/etcdkit/internal/errtext"
	"github.com/etcdkit/etcdkit/lease"
)

const (
	// txnsAtOnce transactions are under way together, of keys that have nothing in common.
	txnsAtOnce = 4
	// The ceiling of pauses between tries, which are random, grows from the first to the second.
	firstPause = 50 * time.Millisecond
	maxPause   = 2 * time.Second
	// slowPause is between tries that fail until a person does something: a permission was taken away,
	// or a live process has taken the key.
	slowPause = 5 * time.Second
	// verifyEvery is how often keys are read that had no event: a watch can fall silent without an error.
	verifyEvery = 30 * time.Second
)

// worker writes all entries. Only goroutines that it started and waits for write, so that nothing can
// overtake a withdrawal.
type worker struct {
	table       *table
	writer      *writer
	pauses      ask.Jitter
	verifyEvery time.Duration
	ownKeeper   bool // false: the leases outlive Close, so the worker goes on until the keys are gone, or the leases
	stop        context.CancelFunc

	waiting atomic.Bool    // a goroutine waits for the end of an outage
	waiters sync.WaitGroup // that goroutine
}

// start starts the worker, which ends with stop, or with the client.
func (w *worker) start() {
	ctx, stop := w.table.etcd.WhileOpen(context.Background())
	w.stop = stop
	liveTablesOf(w.table.etcd).Store(w.table, nil)
	go w.run(ctx)
}

// end ends the worker, and returns when it writes nothing any more.
func (w *worker) end() {
	w.stop()
	<-w.table.ended
}

func (w *worker) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer close(w.table.ended)
	defer liveTablesOf(w.table.etcd).Delete(w.table)
	defer w.table.log.Flush()
	defer w.endAll()
	defer w.table.watcher.close()
	defer w.waiters.Wait()
	defer cancel()
	verify := time.NewTicker(w.verifyEvery)
	defer verify.Stop()
	again := time.NewTimer(0)
	defer again.Stop()
	for !w.finished() {
		again.Reset(w.work(ctx))
		w.table.log.Flush()
		select {
		case <-w.table.wake:
		case <-again.C:
		case <-verify.C:
			w.table.mu.Lock()
			w.table.markUnverified("")
			w.table.mu.Unlock()
		case <-ctx.Done():
			return
		}
	}
}

// finished reports whether the worker of a closed registrar has nothing left to do. Entries that could not
// be withdrawn before their leases ended are removed, so that the shared Keeper does not keep their keys claimed.
func (w *worker) finished() bool {
	t := w.table
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.closing || w.ownKeeper {
		return false
	}
	for _, e := range t.entries {
		if !t.closeReturned || e.lease == nil || e.lease.Err() == nil {
			return false
		}
	}
	for _, e := range t.entries {
		t.remove(e)
	}
	return true
}

// work does what is due, and returns how long it is until something else is.
func (w *worker) work(ctx context.Context) time.Duration {
	todo, wait := w.table.due()
	if len(todo) == 0 {
		return wait
	}
	if outage := w.table.etcd.Outage(); outage != nil {
		w.waitOutOutage(ctx, outage, todo)
		return time.Hour // its end wakes
	}
	if w.round(ctx, todo, w.pauses.Next()) {
		w.pauses.Reset()
	}
	_, wait = w.table.due()
	return wait
}

// waitOutOutage has the worker woken at the end of an outage, in which it tries nothing. Package
// ask decides when that is, for all handles on the client.
func (w *worker) waitOutOutage(ctx context.Context, outage error, todo [][]*entry) {
	t := w.table
	t.mu.Lock()
	for _, batch := range todo {
		for _, e := range batch {
			if e.neverWritten() {
				t.remove(e)
			} else if e.lastErr == nil {
				w.cannotWrite(e, outage)
				e.failed(outage, 0)
			}
		}
	}
	t.mu.Unlock()
	if !w.waiting.CompareAndSwap(false, true) {
		return
	}
	w.waiters.Go(func() { // ends with the outage, or with ctx
		_ = t.etcd.Await(ctx) // the worker sees why
		w.waiting.Store(false)
		t.wakeWorker()
	})
}

// endAll ends the entries of a registrar whose client was closed.
func (w *worker) endAll() {
	t := w.table
	if t.etcd.Err() == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	const clientClosed = "the etcd client was closed"
	for _, e := range t.entries {
		if e.written {
			e.written, e.unverified, e.lostBecause, e.since = false, false, clientClosed, time.Now()
		}
		e.refused(t.closedError(), slowPause)
	}
	if len(t.entries) > 0 {
		t.note(slog.LevelWarn, "registrations ended", "because", clientClosed, "number", len(t.entries))
	}
}

// round writes batches. It reports whether none of them failed. The entries of one that did rest for a
// pause, and those after it come with the next round.
func (w *worker) round(ctx context.Context, todo [][]*entry, pause time.Duration) bool {
	if len(todo) == 1 { // as a rule, and without a change of goroutines
		return w.writeBatch(ctx, todo[0], pause)
	}
	var writing sync.WaitGroup
	var failed atomic.Bool
	room := make(chan struct{}, txnsAtOnce)
	for _, batch := range todo {
		room <- struct{}{}
		if failed.Load() {
			break
		}
		writing.Go(func() {
			if !w.writeBatch(ctx, batch, pause) {
				failed.Store(true)
			}
			<-room
		})
	}
	writing.Wait()
	return !failed.Load()
}

// writeBatch writes a batch. A batch that is refused is halved, to find the entry that etcd refuses.
func (w *worker) writeBatch(ctx context.Context, batch []*entry, pause time.Duration) bool {
	t := w.table
	err := w.writer.write(ctx, batch)
	if half := len(batch) / 2; half > 0 && isolatesRefusal(err) {
		first, second := w.writeBatch(ctx, batch[:half], pause), w.writeBatch(ctx, batch[half:], pause)
		return first && second
	}
	if err != nil && ctx.Err() != nil {
		return false // the worker ends: it says nothing of etcd
	}
	switch class := ask.ClassOf(err); {
	case class == ask.Done || class == ask.Final && ask.IsAnswer(err):
		t.etcd.Answered()
	case !ask.IsAnswer(err): // a member that refuses is neither: it answers, but does nothing
		t.etcd.Failed(err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range batch {
		if !e.asWanted() {
			w.recordFailure(e, err, pause)
		}
	}
	return err == nil
}

// isolatesRefusal reports whether etcd may accept a part of the transaction.
func isolatesRefusal(err error) bool {
	return errors.Is(err, rpctypes.ErrPermissionDenied) || errors.Is(err, lease.ErrTooManyKeys) ||
		errors.Is(err, rpctypes.ErrTooManyOps) || errors.Is(err, rpctypes.ErrRequestTooLarge)
}

// recordFailure records that a try has not settled an entry. table.mu is held.
func (w *worker) recordFailure(e *entry, err error, pause time.Duration) {
	unauthorised := ask.Unauthorised(err) || errors.Is(err, lease.ErrUnauthorised)
	if e.withdrawing && (unauthorised || errors.Is(err, rpctypes.ErrNoSpace)) {
		e.saidDraining = true // it cannot be said, but the key may be deleted all the same
	}
	switch {
	case err == nil:
		if e.tries++; e.tries > 3 && e.lastErr == nil {
			e.nextTry = time.Now().Add(firstPause) // no known case needs so many
		}
	case unauthorised && e.withdrawing && !e.withdrawTried: // the try began before it left: the next one is due
	case unauthorised:
		e.refused(errtext.New("registry: not authorised: write "+e.key+": "+errtext.Text(err), ErrUnauthorised, err), slowPause+pause)
	case w.table.etcd.Err() != nil:
		e.refused(w.table.closedError(), slowPause)
	case errors.Is(err, lease.ErrClosed) && !e.withdrawing: // what leaves needs no lease: the try began before it did
		e.refused(errtext.Errorf("%w: the Keeper: %w", ErrClosed, err), slowPause)
	default:
		if e.lastErr == nil {
			w.cannotWrite(e, err)
		}
		e.failed(err, pause)
	}
}

func (w *worker) cannotWrite(e *entry, err error) {
	w.table.note(slog.LevelWarn, "cannot write, trying again", "key", e.key, "endpoints", w.table.cli.Endpoints(), "error", w.table.etcd.Explain(err))
}

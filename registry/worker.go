package registry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/etcdkit/etcdkit/internal/ask"
	"github.com/etcdkit/etcdkit/lease"
)

const (
	// rpcTimeout bounds a request; etcd itself gives up after 7 s. One that has no answer within
	// hedgeAfter is sent again, to another member, and so on. See transact.
	rpcTimeout  = 5 * time.Second
	hedgeAfter  = 500 * time.Millisecond
	mostTries   = 5
	hedgePerKey = 5 * time.Millisecond // a hundred times what a key costs: a busy member is not a silent one
	// reserveTimeout bounds the wait for a lease, which has tries of its own: it must be longer than
	// an election of etcd's takes.
	reserveTimeout = 10 * time.Second
	// txnOps and txnBytes bound a transaction: the server takes 128 operations and 1.5 MiB.
	// txnsAtOnce of them are under way together, of keys that have nothing in common.
	txnOps     = 128
	txnBytes   = 1 << 20
	txnsAtOnce = 4
	// The ceiling of pauses between tries, which are random, grows from the first to the second.
	firstPause = 50 * time.Millisecond
	maxPause   = 2 * time.Second
	// rivalPause is between looks at the lease of another process that has a key of ours.
	rivalPause = 500 * time.Millisecond
	// slowPause is between tries that hardly anything but a person can help: a permission that
	// was taken away, a key that a live process has taken over.
	slowPause = 5 * time.Second
	// lookEvery is how often keys are looked at of which nothing was heard: a watch can fall silent
	// without an error.
	lookEvery = 30 * time.Second
	// lateness is for how long a try that was given up is expected to be carried out: a member that was
	// cut off or stopped passes on what it has kept when it goes on.
	lateness = time.Minute
	// stoodLong is for how long a key has to stand for its loss not to be one in a row.
	stoodLong = time.Second
)

// run is the worker: what it starts alone writes, and it waits for that, so that nothing can
// overtake a withdrawal.
func (r *Registrar) run(ctx context.Context) {
	defer close(r.ended)
	defer r.flush()
	defer r.abandon()
	defer r.watcher.close()
	verify := time.NewTicker(r.lookEvery)
	defer verify.Stop()
	again := time.NewTimer(0)
	defer again.Stop()
	pauses := ask.Jitter{First: firstPause, Most: maxPause}
	if r.own {
		pauses.Most = min(maxPause, r.ttl/4) // so that it is back within the TTL
	}
	for !r.retired() {
		todo, wait := r.pending()
		if outage := r.etcd.Outage(); outage != nil && len(todo) > 0 {
			r.pauseFor(ctx, outage, todo)
			wait = time.Hour // its end wakes
		} else if len(todo) > 0 {
			if r.round(ctx, todo, pauses.Next()) {
				pauses.Reset()
			}
			_, wait = r.pending()
		}
		r.flush()
		again.Reset(wait)
		select {
		case <-r.wake:
		case <-again.C:
		case <-verify.C:
			r.mu.Lock()
			r.doubt("")
			r.mu.Unlock()
		case <-ctx.Done():
			return
		}
	}
}

// pauseFor sees to it that the worker is woken at the end of an outage, in which nothing is tried: when
// that is, is decided in one place for all who use the client.
func (r *Registrar) pauseFor(ctx context.Context, outage error, todo [][]*entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, chunk := range todo {
		for _, e := range chunk {
			if e.unwritten() {
				r.forget(e)
			} else if e.trouble == nil {
				r.cannotWrite(e, outage)
				e.fails(outage, 0, false)
			}
		}
	}
	if r.waiting {
		return
	}
	r.waiting = true
	r.watcher.wg.Go(func() { // ends with the outage, or with ctx
		_ = r.etcd.Await(ctx) // the worker sees why
		r.mu.Lock()
		defer r.mu.Unlock()
		r.waiting = false
		r.urge()
	})
}

// abandon ends the entries of a registrar whose client was closed.
func (r *Registrar) abandon() {
	if r.etcd.Err() == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.entries {
		if e.written {
			e.written, e.doubted, e.reason, e.since = false, false, clientClosed, time.Now()
		}
		e.fails(r.closedError(), slowPause, true)
	}
	if len(r.entries) > 0 {
		r.note(slog.LevelWarn, "registrations ended", "because", clientClosed, "number", len(r.entries))
	}
}

// round writes chunks. It tells whether none of them failed; the entries of one that did rest
// for a pause, together, and those after it come with the next round.
func (r *Registrar) round(ctx context.Context, todo [][]*entry, pause time.Duration) bool {
	if len(todo) == 1 { // as a rule, and without a change of goroutines
		return r.settle(ctx, todo[0], pause)
	}
	var writing sync.WaitGroup
	var failed atomic.Bool
	room := make(chan struct{}, txnsAtOnce)
	for _, chunk := range todo {
		room <- struct{}{}
		if failed.Load() {
			break
		}
		writing.Go(func() {
			if !r.settle(ctx, chunk, pause) {
				failed.Store(true)
			}
			<-room
		})
	}
	writing.Wait()
	return !failed.Load()
}

// settle writes a chunk. One that is refused is halved, to find out for whom that is meant.
func (r *Registrar) settle(ctx context.Context, chunk []*entry, pause time.Duration) bool {
	err := r.write(ctx, chunk)
	if half := len(chunk) / 2; half > 0 && divisible(err) {
		first, second := r.settle(ctx, chunk[:half], pause), r.settle(ctx, chunk[half:], pause)
		return first && second
	}
	switch class := ask.ClassOf(err); {
	case class == ask.Done || class == ask.Final && ask.Answer(err):
		r.etcd.Answered()
	case !ask.Answer(err) && ctx.Err() == nil: // a member's refusal is neither: it answers, and does nothing
		r.etcd.Failed(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range chunk {
		if !e.settled() {
			r.unsettled(e, err, pause)
		}
	}
	return err == nil
}

// unsettled records what a try has left. r.mu is held.
func (r *Registrar) unsettled(e *entry, err error, rest time.Duration) {
	if e.leaving && (denial(err) || errors.Is(err, rpctypes.ErrNoSpace)) {
		e.farewell = true // what keeps it from being said need not keep the key from being deleted
	}
	switch {
	case err == nil:
		if e.tries++; e.tries > 3 && e.trouble == nil {
			e.next = time.Now().Add(firstPause) // nothing that is known needs so many
		}
	case denial(err):
		e.fails(fmt.Errorf("%w: write %s: %w", ErrUnauthorised, e.key, err), slowPause+rest, true)
	case r.etcd.Err() != nil:
		e.fails(r.closedError(), slowPause, true)
	case errors.Is(err, lease.ErrClosed) && !e.leaving: // what leaves needs no lease: the try began before it did
		e.fails(fmt.Errorf("%w: the Keeper: %w", ErrClosed, err), slowPause, true)
	default:
		if e.trouble == nil {
			r.cannotWrite(e, err)
		}
		e.fails(err, rest, false)
	}
}

func (r *Registrar) cannotWrite(e *entry, err error) {
	r.note(slog.LevelWarn, "cannot write, trying on", "key", e.key, "endpoints", r.cli.Endpoints(), "error", r.etcd.Explain(err))
}

// divisible tells whether a smaller transaction might not have the trouble.
func divisible(err error) bool {
	return errors.Is(err, rpctypes.ErrPermissionDenied) || errors.Is(err, lease.ErrTooManyKeys) ||
		errors.Is(err, rpctypes.ErrTooManyOps) || errors.Is(err, rpctypes.ErrRequestTooLarge)
}

// denial tells whether the error is about the user.
func denial(err error) bool {
	return ask.Unauthorised(err) || errors.Is(err, lease.ErrUnauthorised)
}

// reserve finds room on a live lease for the entries that have none.
func (r *Registrar) reserve(ctx context.Context, chunk []*entry) error {
	var without []*entry
	r.mu.Lock()
	for _, e := range chunk {
		if !e.leaving && (e.lease == nil || e.lease.Err() != nil) {
			without = append(without, e)
		}
	}
	r.mu.Unlock()
	if len(without) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, reserveTimeout)
	defer cancel()
	l, err := r.keeper.Reserve(ctx, len(without))
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range without {
		e.reserved(l)
	}
	r.watcher.mourn(l)
	return nil
}

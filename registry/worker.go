package registry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/connectivity"

	"github.com/etcdkit/etcdkit/lease"
)

const (
	// rpcTimeout bounds a request; etcd itself gives up after 7 s. The first try of a write is
	// shorter: the next one goes to another member.
	firstTimeout = 1500 * time.Millisecond
	rpcTimeout   = 5 * time.Second
	// txnOps and txnBytes bound a transaction: the server takes 128 operations and 1.5 MiB.
	// txnsAtOnce of them are under way together, of keys that have nothing in common.
	txnOps     = 128
	txnBytes   = 1 << 20
	txnsAtOnce = 4
	// Pauses between tries grow from the first to the second, with full jitter.
	firstPause = 50 * time.Millisecond
	maxPause   = 2 * time.Second
	// rivalPause is between looks at the lease of another process that has a key of ours.
	rivalPause = 500 * time.Millisecond
	// slowPause is between tries that hardly anything but a person can help: a permission that
	// was taken away, a key that a live process has taken over.
	slowPause = 5 * time.Second
	// verifyEvery is how often keys are looked at that nobody said anything about: a watch can
	// fall silent without an error.
	verifyEvery = 30 * time.Second
	// stoodLong is for how long a key has to stand for its loss not to be one in a row.
	stoodLong = time.Second
)

// run is the worker: what it starts alone writes, and it waits for that, so that nothing can
// overtake a withdrawal.
func (r *Registrar) run(ctx context.Context) {
	defer close(r.ended)
	defer r.flush()
	defer r.watcher.close()
	verify := time.NewTicker(verifyEvery)
	defer verify.Stop()
	again := time.NewTimer(0)
	defer again.Stop()
	pause := firstPause
	for !r.retired() {
		todo, wait := r.pending()
		if len(todo) > 0 {
			if r.round(ctx, todo, pause) {
				pause = firstPause
			} else {
				pause = min(2*pause, maxPause)
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

// round writes chunks. It tells whether none of them failed; the entries of one that did rest
// for up to a pause, and those after it come with the next round.
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
	patience := rpcTimeout
	if pause == firstPause {
		patience = firstTimeout
	}
	err := r.write(ctx, chunk, patience)
	if half := len(chunk) / 2; half > 0 && divisible(err) {
		first, second := r.settle(ctx, chunk[:half], pause), r.settle(ctx, chunk[half:], pause)
		return first && second
	}
	if conn := r.cli.ActiveConnection(); err != nil && conn.GetState() == connectivity.TransientFailure {
		conn.ResetConnectBackoff() // our pauses are shorter than gRPC's, of up to two minutes
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range chunk {
		if !e.settled() {
			r.unsettled(e, err, rand.N(pause))
		}
	}
	return err == nil
}

// unsettled takes note of what a try has left. r.mu is held.
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
	case errors.Is(err, lease.ErrClosed):
		e.fails(fmt.Errorf("%w: the Keeper: %w", ErrClosed, err), slowPause, true)
	default:
		e.untold = true
		if e.trouble == nil {
			r.note(slog.LevelWarn, "cannot write, trying on", "key", e.key, "endpoints", r.cli.Endpoints(), "error", err)
		}
		e.fails(err, rest, false)
	}
}

// divisible tells whether a smaller transaction might not have the trouble.
func divisible(err error) bool {
	return denial(err) || errors.Is(err, lease.ErrTooManyKeys) ||
		errors.Is(err, rpctypes.ErrTooManyOps) || errors.Is(err, rpctypes.ErrRequestTooLarge)
}

// denial tells whether the error is about the user.
func denial(err error) bool {
	return errors.Is(err, rpctypes.ErrPermissionDenied) || errors.Is(err, lease.ErrUnauthorised)
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
	ctx, cancel := context.WithTimeout(ctx, rpcTimeout)
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

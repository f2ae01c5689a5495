package registry

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/etcdkit/etcdkit/lease"
)

const (
	// rpcTimeout bounds a request; etcd itself gives up after 7 s.
	rpcTimeout = 5 * time.Second
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
)

// run is the worker: what it starts alone writes, and it waits for that, so that nothing can
// overtake a withdrawal.
func (r *Registrar) run(ctx context.Context) {
	defer close(r.ended)
	defer r.watcher.close()
	verify := time.NewTicker(verifyEvery)
	defer verify.Stop()
	again := time.NewTimer(0)
	defer again.Stop()
	pause := firstPause
	for {
		todo, wait := r.pending()
		if len(todo) > 0 {
			if r.round(ctx, todo, pause) {
				pause = firstPause
			} else {
				pause = min(2*pause, maxPause)
			}
			_, wait = r.pending()
		}
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

// round tries to settle entries, in transactions. It tells whether none of them failed; the
// entries of one that did rest for up to a pause.
func (r *Registrar) round(ctx context.Context, todo []*entry, pause time.Duration) bool {
	var writing sync.WaitGroup
	var mu sync.Mutex
	ok := true
	room := make(chan struct{}, txnsAtOnce)
	for _, chunk := range chunks(todo) {
		room <- struct{}{}
		writing.Go(func() {
			defer func() { <-room }()
			if r.settle(ctx, chunk, pause) {
				return
			}
			mu.Lock()
			ok = false
			mu.Unlock()
		})
	}
	writing.Wait()
	return ok
}

// chunks cuts the work into transactions.
func chunks(todo []*entry) [][]*entry {
	var all [][]*entry
	size := txnBytes
	for _, e := range todo {
		need := len(e.key) + len(e.value) + 200
		if n := len(all); n == 0 || len(all[n-1]) == txnOps || size+need > txnBytes {
			all, size = append(all, nil), 0
		}
		all[len(all)-1] = append(all[len(all)-1], e)
		size += need
	}
	return all
}

// settle writes a chunk. One that is refused is halved, to find out for whom that is meant.
func (r *Registrar) settle(ctx context.Context, chunk []*entry, pause time.Duration) bool {
	err := r.write(ctx, chunk)
	if err == nil {
		return true
	}
	denied := denial(err)
	if half := len(chunk) / 2; denied && half > 0 {
		first, second := r.settle(ctx, chunk[:half], pause), r.settle(ctx, chunk[half:], pause)
		return first && second
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	rest := rand.N(pause)
	for _, e := range chunk {
		if denied {
			e.fails(fmt.Errorf("%w: write %s: %w", ErrUnauthorised, e.key, err), slowPause+rest, true)
			if e.leaving {
				r.forget(e) // it ends with its lease
			}
			continue
		}
		if e.trouble == nil {
			r.log.Warn("cannot write, trying on", "key", e.key, "error", err)
		}
		e.fails(err, rest, false)
	}
	return false
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

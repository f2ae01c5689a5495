package safety_test

import (
	"context"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/lock"
)

// semaphoreTurn is one hold of some weight.
func (h *hand) semaphoreTurn(s *lock.Semaphore) {
	h.interfere()
	key := h.register()
	held := h.acquire(key, func(ctx context.Context, reads ...clientv3.Op) (*lock.Hold, error) {
		return s.AcquireN(ctx, 1+h.rand.IntN(most), reads...)
	})
	if held == nil {
		return
	}
	h.visit(held, key, true)
	if h.rand.IntN(2) == 0 {
		h.commit(held, commit, 0)
	} else {
		h.release(held, held.Release)
	}
}

// notOverfull: whenever etcd accepted something under a token, its holder and those that had been
// told that they hold, and whose entries were still there, had no more than the size together.
func notOverfull(e *evidence, s subject) error {
	var found findings
	told := make(map[int64]int64) // at which revision, by token
	for _, o := range holds(e.ops, s) {
		told[o.Token] = o.Revision
	}
	all := entries(e.events, s)
	for _, a := range accepted(e, s) {
		taken, at := 0, a.at
		if a.leaves {
			at-- // the next one may be told at the same revision
		}
		for _, q := range all {
			if since, known := told[q.created]; known && (q.created == a.token || since <= at && q.there(at)) {
				taken += q.weight
			}
		}
		if taken > size {
			found.addf("%s at revision %d: %d were taken, of %d", a.what, a.at, taken, size)
		}
	}
	return found.err()
}

// inOrder: when a worker was told that it holds, each entry that had come before and was still there
// had its turn as well. Strictly first in, first out: one that would fit does not overtake one that
// waits because it takes more.
func inOrder(e *evidence, s subject) error {
	var found findings
	all := entries(e.events, s)
	for _, o := range holds(e.ops, s) {
		if o.Revision == 0 {
			continue // it was not told when
		}
		for _, q := range all {
			if q.created >= o.Token {
				break
			}
			if q.there(o.Revision) && q.since > o.Revision {
				found.addf("%v: %s, which came at revision %d, had to wait until %d", o, q.key, q.created, q.since)
			}
		}
	}
	return found.err()
}

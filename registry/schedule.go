package registry

import (
	"slices"
	"strings"
	"time"

	"github.com/etcdkit/etcdkit/lease"
)

// txnOps and txnBytes bound a transaction: the server takes 128 operations and 1.5 MiB.
const (
	txnOps   = 128
	txnBytes = 1 << 20
)

// due returns the entries that need work now, in batches, and how long it is until another one does.
// Entries that leave come first, in batches of their own: what hinders writing need not hinder them.
func (t *table) due() (todo [][]*entry, wait time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	wait = time.Hour
	ended := make(map[*lease.Lease][]*entry)
	var withdrawing, staying []*entry
	for e := range t.dirty {
		if e.written && !e.withdrawing && e.lease.Err() != nil {
			ended[e.lease] = append(ended[e.lease], e)
		} else if e.asWanted() {
			delete(t.dirty, e)
			continue
		}
		if rest := max(e.nextTry.Sub(now), e.notBefore.Sub(now)); rest > 0 {
			wait = min(wait, rest)
			continue
		}
		wait = 0
		if e.withdrawing {
			withdrawing = append(withdrawing, e)
		} else {
			staying = append(staying, e)
		}
	}
	for l, entries := range ended {
		t.markLeaseEnded(l, entries...)
	}
	return append(batches(withdrawing), batches(staying)...), wait
}

// batches cuts entries into what fits in one transaction each. table.mu is held.
func batches(todo []*entry) [][]*entry {
	slices.SortFunc(todo, func(a, b *entry) int { return strings.Compare(a.key, b.key) })
	var all [][]*entry
	size, ops, service := txnBytes, 0, ""
	for _, e := range todo {
		need := len(e.key) + len(e.wanted.value) + 200
		if n := e.operations(service); len(all) == 0 || ops+n > txnOps || size+need > txnBytes {
			all, size, ops, service = append(all, nil), 0, 0, ""
		}
		all[len(all)-1] = append(all[len(all)-1], e)
		size, ops, service = size+need, ops+e.operations(service), e.service
	}
	return all
}

// operations is how many of a transaction's an entry needs at most, after one of a service.
func (e *entry) operations(after string) int {
	n := 1
	if e.service != after {
		n++ // the overrides of a service are compared together
	}
	if e.override != nil {
		n++ // and its own is compared, or deleted
	}
	return n
}

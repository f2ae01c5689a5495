package discovery

import (
	"context"
	"time"

	"github.com/cespare/xxhash/v2"
)

// maglev is the table of PickFor: Google's Maglev hashing (Eisenbud et al., NSDI 2016, section
// 3.4). Each instance has an order of its own for the table's slots, made from its id alone. In turns,
// by weight, each instance takes its next free slot. So shares are even, all processes make the same
// table from the same list, and a change moves few other slots.
//
// A new table is made in the background, since that takes milliseconds, so it may be behind the list.
// It holds loads, each of which has the instance as it is now, or none.
type maglev struct {
	slots []*usage
}

// The table's sizes are primes. The small one is for lists in which each instance has at least six slots.
const (
	smallTable = 65_537
	largeTable = 655_373
)

func newMaglev(of []*Instance) *maglev {
	if len(of) == 0 {
		return &maglev{}
	}
	size := uint64(smallTable)
	if len(of) > smallTable/6 {
		size = largeTable
	}
	type turn struct{ at, skip uint64 }
	turns, total := make([]turn, len(of)), int64(0)
	for n, i := range of {
		hash := xxhash.Sum64String(i.ID)
		turns[n] = turn{at: hash % size, skip: mix(hash)%(size-1) + 1}
		total += i.weight
	}
	slots, due := make([]*usage, size), make([]int64, len(of))
	for filled := uint64(0); ; {
		for n, i := range of {
			t := &turns[n]
			for due[n] += i.weight * int64(len(of)); due[n] >= total; due[n] -= total { // a share of a round
				for slots[t.at] != nil {
					t.at = (t.at + t.skip) % size
				}
				slots[t.at] = i.usage
				if filled++; filled == size {
					return &maglev{slots}
				}
			}
		}
	}
}

func (m *maglev) at(hash uint64) *usage { return m.slots[hash%uint64(len(m.slots))] }

// startTable makes the first table, and keeps it up to date until the view is closed.
func (v *View) startTable() *maglev {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.table.Load() == nil {
		l := v.current.Load()
		v.table.Store(newMaglev(l.choices.all.of))
		if v.life.Err() == nil {
			v.wg.Go(func() { v.keepTable(v.life, l) }) // ends with the view
		}
	}
	return v.table.Load()
}

// keepTable makes a new table after each change. It works for at most a tenth of the time.
func (v *View) keepTable(ctx context.Context, l *list) {
	const rest = 5 * time.Millisecond
	for {
		select {
		case <-l.changed:
		case <-ctx.Done():
			return
		}
		began := time.Now()
		l = v.current.Load()
		v.table.Store(newMaglev(l.choices.all.of))
		select {
		case <-time.After(max(rest, 9*time.Since(began))):
		case <-ctx.Done():
			return
		}
	}
}

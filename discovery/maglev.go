package discovery

import (
	"context"
	"time"

	"github.com/cespare/xxhash/v2"
)

// maglev is the table of PickFor: Google's Maglev hashing (Eisenbud et al., NSDI 2016, section
// 3.4). Each instance has an order of its own in which it would like to have the table's slots,
// made of its id alone; in turns, by weight, each takes the first that is free. So shares are
// even, all processes make the same table of the same list, and a change moves few other slots.
//
// It is made anew in the background, since that takes milliseconds, and so may lag behind the
// list; what it holds are loads, which know the instance as it is now, or that there is none.
type maglev struct {
	slots []*load
}

// The table's sizes, primes, for up to so many instances that each has six slots at least.
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
	slots, due := make([]*load, size), make([]int64, len(of))
	for filled := uint64(0); ; {
		for n, i := range of {
			t := &turns[n]
			for due[n] += i.weight * int64(len(of)); due[n] >= total; due[n] -= total { // a share of a round
				for slots[t.at] != nil {
					t.at = (t.at + t.skip) % size
				}
				slots[t.at] = i.load
				if filled++; filled == size {
					return &maglev{slots}
				}
			}
		}
	}
}

func (m *maglev) at(hash uint64) *load { return m.slots[hash%uint64(len(m.slots))] }

// startTable makes the first table and has it kept up to date until the view is closed.
func (v *View) startTable() *maglev {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.table.Load() == nil {
		l := v.now.Load()
		v.table.Store(newMaglev(l.choices.all.of))
		if v.life.Err() == nil {
			v.wg.Go(func() { v.keepTable(v.life, l) }) // ends with the view
		}
	}
	return v.table.Load()
}

// keepTable makes the table anew after a change. Of its time it rests nine tenths at least.
func (v *View) keepTable(ctx context.Context, l *list) {
	const rest = 5 * time.Millisecond
	for {
		select {
		case <-l.changed:
		case <-ctx.Done():
			return
		}
		began := time.Now()
		l = v.now.Load()
		v.table.Store(newMaglev(l.choices.all.of))
		select {
		case <-time.After(max(rest, 9*time.Since(began))):
		case <-ctx.Done():
			return
		}
	}
}

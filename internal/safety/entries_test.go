package safety_test

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
)

// entry is one that was in a queue.
type entry struct {
	key              string
	created, deleted int64 // revisions
	since            int64 // from which on it has its turn, if it is still there
	shared           bool  // with others that are
	weight, size     int   // of a semaphore; 0: it does not count
}

const never = math.MaxInt64

// entries are those of a subject's queue, in the order in which they came.
func entries(events []event, s subject) []*entry {
	var all []*entry
	there := make(map[string]*entry)
	for _, ev := range events {
		switch e := there[ev.Key]; {
		case !strings.HasPrefix(ev.Key, s.queue()):
		case e == nil && ev.Created != 0:
			e = newEntry(ev, s)
			there[ev.Key], all = e, append(all, e)
		case e != nil && ev.Created == 0:
			e.deleted = ev.Revision
			delete(there, ev.Key)
		}
	}
	for i, e := range all {
		e.since = e.turn(all[:i])
	}
	return all
}

// newEntry reads its kind from its key, as package queue documents it.
func newEntry(ev event, s subject) *entry {
	e := &entry{key: ev.Key, created: ev.Created, deleted: never}
	last := strings.TrimPrefix(ev.Key, s.queue())
	e.shared = strings.HasPrefix(last, "r")
	if _, count, counts := strings.Cut(last, "."); counts {
		if _, err := fmt.Sscanf(count, "%dof%d", &e.weight, &e.size); err != nil {
			panic(fmt.Sprintf("%s: %v", ev.Key, err))
		}
	}
	return e
}

// there tells whether the entry is in the queue at a revision.
func (e *entry) there(at int64) bool { return e.created <= at && at < e.deleted }

// turn is the first revision at which those older ones that are still there let the entry have its
// turn. One that shares does not wait for others that do. One that counts waits until it fits in
// beside all of them, those included that wait: else small ones would overtake a large one.
func (e *entry) turn(older []*entry) int64 {
	var ahead []*entry
	taken := 0
	for _, o := range older {
		if o.deleted > e.created && !(e.shared && o.shared) {
			ahead = append(ahead, o)
			taken += o.weight
		}
	}
	slices.SortFunc(ahead, func(a, b *entry) int { return cmp.Compare(a.deleted, b.deleted) })
	since := e.created
	for _, o := range ahead {
		if e.size > 0 && taken+e.weight <= e.size {
			break
		}
		since, taken = o.deleted, taken-o.weight
	}
	return since
}

// turns are the entries of a subject by token.
func turns(events []event, s subject) map[int64]*entry {
	all := make(map[int64]*entry)
	for _, e := range entries(events, s) {
		all[e.created] = e
	}
	return all
}

package safety_test

import (
	"fmt"
	"slices"
)

// leaders are those that Leader and Observe told of.
func leaders(ops []op, also func(op) bool) []op {
	return slices.DeleteFunc(slices.Clone(ops), func(o op) bool {
		return o.Op != current && o.Op != observe || o.Outcome != ok || !also(o)
	})
}

func anyLeader(op) bool { return true }

// leadersAreReal: a leader that was reported was the oldest in the queue, with the value that it had
// campaigned with or proclaimed, at the revision at which that was written; and where none was
// said to lead, the queue was empty.
func leadersAreReal(e *evidence) error {
	var found findings
	all := entries(e.events, leadership)
	queue := turns(e.events, leadership)
	last := make(map[string]event) // write of an entry
	ends := make(map[event]int64)  // with the next one
	for _, ev := range e.events {
		if of(ev.Key) == leadership && !leadership.protects(ev.Key) {
			ends[last[ev.Key]] = ev.Revision
			last[ev.Key], ends[ev] = ev, never
		}
	}
	for _, o := range leaders(e.ops, anyLeader) {
		if o.Token == 0 {
			if at := slices.IndexFunc(all, func(q *entry) bool { return q.there(o.Revision) }); at >= 0 && o.Op == observe {
				found.addf("%v: %s was there", o, all[at].key)
			}
			continue
		}
		end, written := ends[event{o.Revision, o.Key, o.Value, o.Token}]
		switch q := queue[o.Token]; {
		case !written || q == nil:
			found.addf("%v: no leader wrote that", o)
		case max(q.since, o.Revision) >= end:
			found.addf("%v: its turn came at revision %d, and this was its value until %d", o, q.since, end)
		}
	}
	return found.err()
}

// leadersNeverGoBack: an observer never sees an older leader after a newer one, one whose term is
// over, or an older value of the same leader.
func leadersNeverGoBack(e *evidence) error {
	var found findings
	before := make(map[string]op) // the last leader that a worker saw
	vacant := make(map[string]bool)
	for _, o := range leaders(e.ops, func(o op) bool { return o.Op == observe }) {
		if o.Token == 0 {
			vacant[o.Worker] = true
			continue
		}
		was := before[o.Worker]
		if o.Token < was.Token || o.Token == was.Token && (vacant[o.Worker] || o.Revision < was.Revision) {
			found.addf("%v: and before: %v", o, was)
		}
		before[o.Worker], vacant[o.Worker] = o, false
	}
	return found.err()
}

// currentIsNew: Leader does not tell of a leader that is older than one whose write was
// acknowledged before it was called.
func currentIsNew(e *evidence) error {
	var found findings
	for _, o := range leaders(e.ops, func(o op) bool { return o.Op == current && o.Token != 0 }) {
		for _, w := range e.ops {
			if w.writes() && w.Outcome == ok && w.of() == leadership && w.Return < o.Call && w.Token > o.Token {
				found = append(found, fmt.Errorf("%v: called after %v", o, w))
				break
			}
		}
	}
	return found.err()
}

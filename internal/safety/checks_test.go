package safety_test

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// evidence is what a run left.
type evidence struct {
	ops    []op
	events []event
	faults []fault
}

// check is one property of the evidence.
type check struct {
	name string
	run  func(*evidence) error
}

// Names of the checks.
const (
	byTokens   = "tokens increase"
	byTurn     = "hand-over follows create revision"
	byWrites   = "guarded writes lie in their token's turn"
	byAnswers  = "acknowledged writes happened, refused ones did not"
	byCount    = "the counter counts"
	byRegister = "the register is linearizable"
)

// checks are the properties, the cheapest first.
func checks() []check {
	return []check{
		{byTokens, tokensIncrease},
		{byTurn, handOver},
		{byWrites, writesInTurn},
		{byAnswers, writesAsSaid},
		{byCount, counterCounts},
		{byRegister, func(e *evidence) error { return linearizable(e, thinking, "") }},
	}
}

// findings are what a check found; a broken run has thousands.
type findings []error

const shown = 5

func (f *findings) addf(format string, args ...any) { *f = append(*f, fmt.Errorf(format, args...)) }

func (f findings) err() error {
	if len(f) > shown {
		return fmt.Errorf("%w\nand %d more", errors.Join(f[:shown]...), len(f)-shown)
	}
	return errors.Join(f...)
}

// turns are the entries of the guarded lock by token.
func turns(events []event) map[int64]*entry {
	all := make(map[int64]*entry)
	for _, e := range entries(events, lockName) {
		all[e.created] = e
	}
	return all
}

// holds are the acquisitions of the guarded lock, in the order in which they were called.
func holds(ops []op) []op {
	var all []op
	for _, o := range ops {
		if o.Op == acquire && o.Outcome == ok && strings.HasPrefix(o.Key, lockName+"/") {
			all = append(all, o)
		}
	}
	slices.SortFunc(all, func(a, b op) int { return cmp.Compare(a.Call, b.Call) })
	return all
}

// tokensIncrease: a token is the create revision of the hold's entry, nobody else's, and larger
// than every one that was returned before it was asked for.
func tokensIncrease(e *evidence) error {
	var found findings
	all := holds(e.ops)
	queue := turns(e.events)
	seen := make(map[int64]op)
	for _, o := range all {
		if q := queue[o.Token]; q == nil || q.key != o.Key {
			found.addf("%v: no entry has this key and create revision", o)
		}
		if other, twice := seen[o.Token]; twice {
			found.addf("%v: it is the token of %v, too", o, other)
		}
		seen[o.Token] = o
	}
	returned := slices.Clone(all)
	slices.SortFunc(returned, func(a, b op) int { return cmp.Compare(a.Return, b.Return) })
	var largest op
	next := 0
	for _, o := range all {
		for ; next < len(returned) && returned[next].Return < o.Call; next++ {
			if returned[next].Token > largest.Token {
				largest = returned[next]
			}
		}
		if o.Token <= largest.Token {
			found.addf("%v: called after the return of %v", o, largest)
		}
	}
	return found.err()
}

// handOver: at the revision at which a hold was told that it is one, its entry was there and no
// older one was.
func handOver(e *evidence) error {
	var found findings
	queue := turns(e.events)
	for _, o := range holds(e.ops) {
		q := queue[o.Token]
		if q == nil {
			continue // tokensIncrease says so
		}
		if o.Revision < q.created || o.Revision < q.since || o.Revision >= q.deleted {
			found.addf("%v: its entry's turn was from %d to %d", o, max(q.created, q.since), q.deleted)
		}
	}
	return found.err()
}

// writesInTurn: etcd accepted a write under a token only after all older entries were deleted and
// before its own was. A Commit is a write and the deletion of its entry at the same revision.
func writesInTurn(e *evidence) error {
	var found findings
	queue := turns(e.events)
	for _, ev := range guardedWrites(e.events) {
		m, err := parseMark(ev.Value)
		if err != nil {
			found.addf("%s at revision %d: %w", ev.Key, ev.Revision, err)
			continue
		}
		q := queue[m.token]
		if q == nil {
			found.addf("%s = %q at revision %d: the token is not one", ev.Key, ev.Value, ev.Revision)
			continue
		}
		last := q.deleted - 1
		if ev.Key == counterKey {
			last = q.deleted
		}
		if ev.Revision < q.created || ev.Revision < q.since || ev.Revision > last {
			found.addf("%s = %q at revision %d: the token's turn was from %d to %d", ev.Key, ev.Value, ev.Revision, max(q.created, q.since), q.deleted)
		}
	}
	return found.err()
}

// guardedWrites are the changes of what the lock protects.
func guardedWrites(events []event) []event {
	return slices.DeleteFunc(slices.Clone(events), func(ev event) bool {
		return ev.Key != counterKey && !strings.HasPrefix(ev.Key, registers)
	})
}

// writesAsSaid: an acknowledged write is in the data's history once, at its revision; a refused
// one is not; and there is none that nobody asked for.
func writesAsSaid(e *evidence) error {
	var found findings
	happened := make(map[string][]event)
	for _, ev := range guardedWrites(e.events) {
		happened[ev.Key+" "+ev.Value] = append(happened[ev.Key+" "+ev.Value], ev)
	}
	for _, o := range e.ops {
		if !o.writes() || o.Key == openCounter {
			continue
		}
		is := happened[o.Key+" "+o.Value]
		delete(happened, o.Key+" "+o.Value)
		switch {
		case o.Outcome == ok && (len(is) != 1 || is[0].Revision != o.Revision):
			found.addf("%v: it happened %d times: %v", o, len(is), is)
		case o.Outcome == fail && len(is) > 0:
			found.addf("%v: it happened all the same: %v; the error was: %s", o, is, o.Error)
		case len(is) > 1:
			found.addf("%v: it happened %d times: %v", o, len(is), is)
		}
	}
	for _, is := range happened {
		found.addf("nobody asked for %v", is[0])
	}
	return found.err()
}

// counterCounts: each write adds one, and the last one is the number of the acknowledged ones and
// of those without an answer that happened.
func counterCounts(e *evidence) error {
	var found findings
	applied := make(map[string]bool)
	final := 0
	for _, ev := range e.events {
		if ev.Key != counterKey {
			continue
		}
		m, err := parseMark(ev.Value)
		if err != nil || m.count != final+1 {
			found.addf("%q at revision %d comes after %d (%v)", ev.Value, ev.Revision, final, err)
		}
		final = m.count
		applied[ev.Value] = true
	}
	acknowledged, unanswered := 0, 0
	for _, o := range e.ops {
		switch {
		case o.Key != counterKey || o.Op != increment:
		case o.Outcome == ok:
			acknowledged++
		case o.Outcome == info && applied[o.Value]:
			unanswered++
		}
	}
	if final != acknowledged+unanswered {
		found.addf("the counter is %d, want %d: %d increments were acknowledged, and %d happened without an answer", final, acknowledged+unanswered, acknowledged, unanswered)
	}
	return found.err()
}

// lostOpenly is how many increments of the unfenced arm happened and are not in its counter.
func lostOpenly(e *evidence) (missing, happened int) {
	final := 0
	for _, ev := range e.events {
		if ev.Key == openCounter {
			m, _ := parseMark(ev.Value) // a zero is a loss
			final = m.count
			happened++
		}
	}
	return happened - final, happened
}

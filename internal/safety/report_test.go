package safety_test

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// report logs what happened in a run. It asserts nothing.
func report(t *testing.T, e *evidence) {
	t.Helper()
	count := make(map[string]int)
	for _, s := range append(subjects, mutex.open(), rwmutex.open(), semaphore.open(), leadership.open()) {
		clear(count)
		for _, o := range e.ops {
			if o.of() == s {
				count[o.Op+" "+o.Outcome]++
			}
		}
		t.Logf("%s: %s", s, figures(count))
		b := believers(e, s)
		t.Logf("%s: %d holders; how many began while others believed that they held, by how much that was too much: %v; for %v at the longest", s, b.holders, b.excess, b.longest.Round(time.Millisecond))
	}
	clear(count)
	for _, f := range e.faults {
		count[f.Kind]++
		t.Logf("%s %s for %v: %s", f.Kind, f.On, f.lasted().Round(time.Millisecond), f.Effect)
	}
	t.Logf("faults: %s", figures(count))
	perRegister := make(map[string]int)
	for _, o := range e.ops {
		if strings.HasPrefix(o.Key, o.of().registers()) {
			perRegister[o.Key]++
		}
	}
	t.Logf("operations of each register: %v", slices.Sorted(maps.Values(perRegister)))
	t.Logf("waited while they were stopped: %d", waitedStopped(e))
	t.Logf("told of the loss after SIGCONT: at the latest after %v", told(e).Round(time.Millisecond))
	for _, s := range exclusive {
		missing, happened := lostOpenly(e, s)
		t.Logf("control: of %d increments without the guard of the %s %d were lost", happened, s, missing)
	}
}

// lostOpenly is how many increments of the unfenced arm happened and are not in its counter.
func lostOpenly(e *evidence, s subject) (missing, happened int) {
	final := 0
	for _, ev := range e.events {
		if ev.Key == s.open().counter() {
			m, _ := parseMark(ev.Value) // a zero is a loss
			final = m.count
			happened++
		}
	}
	return happened - final, happened
}

func figures(count map[string]int) string {
	var all []string
	for _, what := range slices.Sorted(maps.Keys(count)) {
		all = append(all, fmt.Sprintf("%s %d", what, count[what]))
	}
	return strings.Join(all, ", ")
}

// belief is the time from the return of Acquire to the first of the call that gives the lock up,
// the closing of Done and the worker's death.
type belief struct {
	from, to int64
	entry    *entry
}

func beliefs(e *evidence, s subject) []belief {
	end := make(map[int64]int64) // by token
	sooner := func(token, at int64) {
		if old, known := end[token]; !known || at < old {
			end[token] = at
		}
	}
	for _, o := range e.ops {
		if o.of() == s && (o.Op == lost || o.ends()) {
			sooner(o.Token, o.Call)
		}
	}
	died := make(map[string]int64)
	for _, f := range e.faults {
		if f.Kind == killWorker {
			died[f.On] = f.Begin
		}
	}
	queue := turns(e.events, s)
	var all []belief
	for _, o := range holds(e.ops, s) {
		if at, dead := died[o.Worker]; dead {
			sooner(o.Token, at)
		}
		if q := queue[o.Token]; q != nil {
			all = append(all, belief{o.Return, end[o.Token], q})
		}
	}
	slices.SortFunc(all, func(a, b belief) int { return cmp.Compare(a.from, b.from) })
	return all
}

// mistaken counts the holders that believed that they held what others had got after them.
type mistaken struct {
	holders int
	excess  map[int]int // how often it was acquired while too much was held, by how much
	longest time.Duration
}

func believers(e *evidence, s subject) mistaken {
	all := beliefs(e, s)
	m := mistaken{holders: len(all), excess: make(map[int]int)}
	for i, b := range all {
		var others []belief
		for _, o := range all[:i] {
			if o.to > b.from && !(o.entry.shared && b.entry.shared) {
				others = append(others, o)
			}
		}
		if over := excess(b, others); over > 0 {
			m.excess[over]++
			for _, o := range others {
				m.longest = max(m.longest, time.Duration(o.to-b.from))
			}
		}
	}
	return m
}

// excess is by how much one holds too much beside others.
func excess(b belief, others []belief) int {
	if b.entry.size == 0 {
		return len(others)
	}
	taken := b.entry.weight
	for _, o := range others {
		taken += o.entry.weight
	}
	return taken - b.entry.size
}

// told is the longest time from the end of a pause to the closing of Done, for workers that held when
// they were paused.
func told(e *evidence) (latest time.Duration) {
	held := make(map[int64]op) // revisions differ between subjects, too
	for _, s := range subjects {
		for _, o := range holds(e.ops, s) {
			held[o.Token] = o
		}
	}
	for _, f := range e.faults {
		for _, o := range e.ops {
			if f.Kind == pauseWorker && o.Op == lost && o.Worker == f.On && o.Call > f.End && held[o.Token].Return < f.Begin && o.Call < f.End+int64(ttl) {
				latest = max(latest, time.Duration(o.Call-f.End))
			}
		}
	}
	return latest
}

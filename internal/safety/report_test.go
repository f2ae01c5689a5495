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

// report logs what a run was. Nothing of it is asserted.
func report(t *testing.T, e *evidence) {
	t.Helper()
	count := make(map[string]int)
	for _, o := range e.ops {
		what := o.Op + " " + o.Outcome
		if o.Key == openCounter {
			what = "unguarded " + what
		}
		count[what]++
	}
	t.Logf("operations: %s", figures(count))
	clear(count)
	for _, f := range e.faults {
		count[f.Kind]++
		t.Logf("%s %s for %v: %s", f.Kind, f.On, f.lasted().Round(time.Millisecond), f.Effect)
	}
	t.Logf("faults: %s", figures(count))
	b := believers(e)
	t.Logf("two workers at once believed that they held: %d holders, while %d others came and went, the longest for %v", b.holders, b.successors, b.longest.Round(time.Millisecond))
	perRegister := make(map[string]int)
	for _, o := range e.ops {
		if strings.HasPrefix(o.Key, registers) {
			perRegister[o.Key]++
		}
	}
	t.Logf("operations of each register: %v", slices.Sorted(maps.Values(perRegister)))
	t.Logf("told of the loss after SIGCONT: at the latest after %v", told(e).Round(time.Millisecond))
	missing, happened := lostOpenly(e)
	t.Logf("control: of %d increments without a guard %d were lost", happened, missing)
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
type belief struct{ from, to int64 }

func beliefs(e *evidence) []belief {
	end := make(map[int64]int64) // by token
	sooner := func(token, at int64) {
		if old, known := end[token]; !known || at < old {
			end[token] = at
		}
	}
	for _, o := range e.ops {
		if o.Op == lost || o.Op == release || o.Op == increment {
			sooner(o.Token, o.Call)
		}
	}
	died := make(map[string]int64)
	for _, f := range e.faults {
		if f.Kind == killWorker {
			died[f.On] = f.Begin
		}
	}
	var all []belief
	for _, o := range holds(e.ops) {
		if at, dead := died[o.Worker]; dead {
			sooner(o.Token, at)
		}
		all = append(all, belief{o.Return, end[o.Token]})
	}
	slices.SortFunc(all, func(a, b belief) int { return cmp.Compare(a.from, b.from) })
	return all
}

// mistaken are the holders who believed to hold while others had the lock after them.
type mistaken struct {
	holders, successors int
	longest             time.Duration
}

func believers(e *evidence) (m mistaken) {
	all := beliefs(e)
	for i, b := range all {
		after := 0
		for _, next := range all[i+1:] {
			if next.from >= b.to {
				break
			}
			after++
		}
		if after > 0 {
			m.holders++
			m.successors += after
			m.longest = max(m.longest, time.Duration(b.to-all[i+1].from))
		}
	}
	return m
}

// told is the longest time from the end of a pause to the closing of Done, for those who held when
// they were stopped.
func told(e *evidence) (latest time.Duration) {
	held := make(map[int64]op)
	for _, o := range holds(e.ops) {
		held[o.Token] = o
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

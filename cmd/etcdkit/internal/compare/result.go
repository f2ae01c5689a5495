package compare

import (
	"cmp"
	"slices"
	"time"
)

// An Update is one change of the counter: the worker that made it, the version that it read, the one that it wrote, and
// its value.
type Update struct {
	Worker      int
	Read, Wrote int64 // revisions; Read is 0 when there was no counter yet
	Value       int

	At     time.Duration // done, since the start
	Waited time.Duration // from wanting it to done
}

func sorted(updates []Update) []Update {
	slices.SortFunc(updates, func(a, b Update) int { return cmp.Compare(a.Wrote, b.Wrote) })
	return updates
}

// A Result is that of a job.
type Result struct {
	Updates []Update // in the order in which etcd has made them
	Took    time.Duration
}

// SoFar is the result of a job that goes on, from the updates seen until now. It leaves out those that
// were built on one not yet seen: two answers can overtake each other on their way here.
func SoFar(seen []Update) *Result {
	r := new(Result)
	grounded := map[int64]bool{0: true}
	for _, u := range sorted(slices.Clone(seen)) {
		if grounded[u.Read] {
			grounded[u.Wrote] = true
			r.Updates = append(r.Updates, u)
			r.Took = max(r.Took, u.At)
		}
	}
	return r
}

// Counter is the final value.
func (r *Result) Counter() int {
	if len(r.Updates) == 0 {
		return 0
	}
	return r.Updates[len(r.Updates)-1].Value
}

// Lost counts the updates that are not in the final value. That was computed from one earlier version,
// which was computed from an earlier one still, and so on: what this chain leaves out is lost. (Counting
// the writes that overwrote something unread would be easier and wrong: what they overwrote can come
// back, when the other had read it before.)
func (r *Result) Lost() int {
	read := make(map[int64]int64, len(r.Updates))
	for _, u := range r.Updates {
		read[u.Wrote] = u.Read
	}
	lost := len(r.Updates)
	if lost > 0 {
		for rev := r.Updates[lost-1].Wrote; rev != 0; rev = read[rev] {
			lost--
		}
	}
	return lost
}

// PerUpdate is the time that one update took, as they came out.
func (r *Result) PerUpdate() time.Duration { return r.Took / time.Duration(max(1, len(r.Updates))) }

// HandOvers counts how often the next update was another worker's.
func (r *Result) HandOvers() int {
	n := 0
	for i := 1; i < len(r.Updates); i++ {
		if r.Updates[i].Worker != r.Updates[i-1].Worker {
			n++
		}
	}
	return n
}

// WorstWait is the longest that a worker waited for one update to be done.
func (r *Result) WorstWait() time.Duration {
	var worst time.Duration
	for _, u := range r.Updates {
		worst = max(worst, u.Waited)
	}
	return worst
}

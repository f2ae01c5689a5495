package locks

import (
	"context"
	"fmt"
	"time"

	"github.com/etcdkit/etcdkit/bench/report"
)

// handoverBound is etcdkit's with Release, at p50, by one Put. With Commit the next one has read the
// counter, too, when it holds the lock.
const handoverBound = 1.5

// tenure is for how long the lock is held in a part of the handover row.
type tenure struct {
	work time.Duration
	ops  int
}

var tenures = []tenure{{0, 200}, {10 * time.Millisecond, 100}, {250 * time.Millisecond, 20}}

// handover measures from the call that gives the lock back until the other one of two clients
// holds it.
func (j *job) handover(ctx context.Context) ([]*report.Group, error) {
	f, err := j.site.floor(ctx)
	if err != nil {
		return nil, err
	}
	defer f.close()
	g := &report.Group{
		Name: "handover", Title: "From one client's giving the lock back until the other one holds it",
		Columns: []string{"held for", "p50", "p99", "p50 × raw Put", "hand-overs"},
	}
	for _, held := range tenures[:j.Either(len(tenures), 2)] {
		all := contestants(append([]system{
			&etcdkit{site: j.site, commit: true}, &etcdkit{site: j.site}, &mutex{site: j.site},
		}, j.peers.systems()...)...)
		for _, e := range all {
			e.work = held.work
		}
		if err := j.rounds(ctx, "handover", f, all, j.Either(2, 1), 2, j.Either(held.ops, 10)); err != nil {
			return nil, err
		}
		for _, e := range all {
			g.Add(e.name(), held.cells(e)...)
		}
	}
	g.Note("At once: the holder does the counter's work and no more. Else it holds the lock for a time, and the other one waits in the queue meanwhile; the Puts that it is compared with have such pauses, too. With Commit, the next holder has also read the counter when it holds the lock.")
	return []*report.Group{g}, nil
}

func (h tenure) cells(e *contestant) []report.Cell {
	held := report.Words("at once", "")
	if h.work > 0 {
		held = report.Seconds(h.work.Seconds())
	}
	gaps := e.history.gaps
	switch {
	case e.err != nil:
		return []report.Cell{held, failed(e.err)}
	case len(gaps) == 0:
		return []report.Cell{held, report.Words("never", fmt.Sprintf("one client had the lock in all %d turns", e.history.turns))}
	}
	times := report.RatioOf(gaps.Median(), e.puts.Median())
	if etcd, ok := e.system.(*etcdkit); ok && !etcd.commit {
		times = times.AtMost(handoverBound)
	}
	return []report.Cell{
		held, report.Seconds(gaps.Median()), report.Seconds(gaps.Quantile(0.99)), times, report.Percent(e.history.handOvers()),
	}
}

// worker holds the lock for a time, instead of counting.
type worker struct {
	contender
	work time.Duration
}

func (w *worker) add(ctx context.Context, _ int) error { return idle(ctx, w.work) }

package locks

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/etcdkit/etcdkit/bench/lab"
	"github.com/etcdkit/etcdkit/bench/report"
)

// openTimeout bounds the opening of a team.
const openTimeout = time.Minute

// contestant is a system in a row, and what was measured of it.
type contestant struct {
	system
	work    time.Duration // for which the lock is held instead of counting; 0: count
	history history
	took    time.Duration // in races
	puts    report.Sample // before and after each
	ratios  report.Sample // of each race: an operation by a Put at the same time
	uneven  report.Sample // of each race: the longest wait by the median one
	off     int           // the counters' deviation from 0
	err     error         // why it has left
}

// contestants makes contestants of systems.
func contestants(systems ...system) []*contestant {
	var all []*contestant
	for _, s := range systems {
		all = append(all, &contestant{system: s})
	}
	return all
}

// with opens a team of n for do, and closes it.
func (e *contestant) with(ctx context.Context, n int, do func(*team) error) (err error) {
	bounded, cancel := context.WithTimeout(ctx, openTimeout)
	t, err := e.open(bounded, n)
	cancel()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.close()) }()
	return do(t)
}

// round is one race with n clients, between puts. What it does first, to be warm, does not count.
func (e *contestant) round(ctx context.Context, f *floor, n, ops int) error {
	return e.with(ctx, n, func(t *team) error {
		if e.work > 0 {
			for i, c := range t.members {
				t.members[i] = &worker{c, e.work}
			}
		}
		if err := race(ctx, t, &history{}, 2*n); err != nil {
			return fmt.Errorf("warm up: %w", err)
		}
		puts := 50
		if e.work > 100*time.Millisecond {
			puts = 10
		}
		var around report.Sample
		if err := f.puts(ctx, puts, e.work, &around); err != nil {
			return err
		}
		before := len(e.history.waits)
		began := time.Now()
		if err := race(ctx, t, &e.history, ops); err != nil {
			return err
		}
		took := time.Since(began)
		waits := e.history.waits[before:]
		if err := f.puts(ctx, puts, e.work, &around); err != nil {
			return err
		}
		e.took += took
		e.uneven = append(e.uneven, waits.Quantile(1)/waits.Median())
		e.puts = append(e.puts, around...)
		e.ratios = append(e.ratios, took.Seconds()/float64(ops)/around.Mean())
		left, err := t.value(ctx)
		e.off += max(left, -left)
		return err
	})
}

// rounds has all contestants race in each of several rounds, in a new order each time; one that fails
// has no other.
func (j *job) rounds(ctx context.Context, row string, f *floor, all []*contestant, rounds, clients, ops int) error {
	for n := range rounds {
		for _, i := range rand.Perm(len(all)) {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			e := all[i]
			j.Progress.Step(row, e.name(), n+1, rounds)
			if e.err == nil {
				e.err = e.round(ctx, f, clients, ops)
			}
		}
	}
	return nil
}

// perOp is how long an operation took, in seconds.
func (e *contestant) perOp() float64 { return e.took.Seconds() / float64(e.history.turns) }

// times is an operation by one Put, in the median round: others of the machine's users come in
// bursts.
func (e *contestant) times() report.Cell { return report.RatioOf(e.ratios.Median(), 1) }

// waits are the cells of the waiting time. How even it is, is that of the median round.
func (e *contestant) waits() []report.Cell {
	w := e.history.waits
	return []report.Cell{report.Seconds(w.Median()), report.Seconds(w.Quantile(1)), report.RatioOf(e.uneven.Median(), 1)}
}

// left is what the counters deviate from 0 in the end.
func (e *contestant) left() report.Cell { return report.Count(float64(e.off)).Exactly(0) }

// most is how many held the lock at once.
func most(e *contestant) report.Cell {
	if _, lockless := e.system.(*stm); lockless {
		return none
	}
	return report.Count(float64(e.history.most)).Exactly(1)
}

// failed is a system that could not be measured, or is not there.
func failed(err error) report.Cell {
	if errors.Is(err, lab.ErrMissing) {
		return report.Words("skipped", err.Error())
	}
	return report.Failed(err)
}

package locks

import (
	"context"
	"fmt"
	"time"

	"github.com/etcdkit/etcdkit/bench/report"
)

// steadyBound is etcdkit's, an operation of the last tenth by one of the first, in Puts.
const steadyBound = 1.2

// steady measures whether operations become slower while etcd keeps all history.
func (j *job) steady(ctx context.Context) ([]*report.Group, error) {
	f, err := j.site.floor(ctx)
	if err != nil {
		return nil, err
	}
	defer f.close()
	e := &contestant{system: &etcdkit{site: j.site, commit: true}}
	ops := j.Either(20_000, 500)
	var locked, puts []float64 // by tenth
	e.err = e.with(ctx, 2, func(t *team) error {
		for n := range 10 {
			j.Progress.Step("steady", e.name(), n+1, 10)
			took, put, err := e.tenth(ctx, f, t, ops/10)
			if err != nil {
				return err
			}
			locked, puts = append(locked, took), append(puts, put)
		}
		return nil
	})
	if e.err != nil {
		return nil, e.err
	}
	g := &report.Group{
		Name: "steady", Title: fmt.Sprintf("%d operations without a compaction, 2 clients", ops),
		Columns: []string{"per operation, first tenth", "last tenth", "last ÷ first", "last ÷ first, in Puts"},
	}
	first, last := locked[0]/puts[0], locked[9]/puts[9]
	g.Add("raw Put", report.Seconds(puts[0]), report.Seconds(puts[9]), report.RatioOf(puts[9], puts[0]))
	g.Add(e.name(), report.Seconds(locked[0]), report.Seconds(locked[9]), report.RatioOf(locked[9], locked[0]),
		report.RatioOf(last, first).AtMost(steadyBound))
	g.Note("In Puts: both by the raw Puts before and after the same tenth, so that a machine that has become slower is not the lock's.")
	return []*report.Group{g}, nil
}

// tenth is a race, and what a Put took before and after it.
func (e *contestant) tenth(ctx context.Context, f *floor, t *team, ops int) (perOp, put float64, err error) {
	const puts = 100
	var s report.Sample
	if err := f.puts(ctx, puts, 0, &s); err != nil {
		return 0, 0, err
	}
	began := time.Now()
	if err := race(ctx, t, &e.history, ops); err != nil {
		return 0, 0, err
	}
	took := time.Since(began)
	err = f.puts(ctx, puts, 0, &s)
	return took.Seconds() / float64(ops), s.Mean(), err
}

package locks

import (
	"context"

	"github.com/etcdkit/etcdkit/bench/report"
)

const (
	goroutines = 100
	// goroutinesBound is etcdkit's, a hold by one Put, with Commit.
	goroutinesBound = 1.3
)

// goroutines measures one process whose goroutines contend for one lock.
func (j *job) goroutines(ctx context.Context) ([]*report.Group, error) {
	f, err := j.site.floor(ctx)
	if err != nil {
		return nil, err
	}
	defer f.close()
	all := contestants(
		&etcdkit{site: j.site, commit: true, together: true}, &etcdkit{site: j.site, together: true},
		&mutex{j.site, connection}, &mutex{j.site, session},
	)
	rounds, ops := j.Either(3, 1), j.Either(1000, 2*goroutines)
	if err := j.rounds(ctx, "goroutines", f, all, rounds, goroutines, ops); err != nil {
		return nil, err
	}
	g := &report.Group{
		Name: "goroutines", Title: "One counter under one lock, 100 goroutines of one process",
		Columns: []string{"per hold", "× raw Put", "wait p50", "max", "max ÷ p50", "most holders", "left in the counter"},
	}
	g.Add("raw Put", append([]report.Cell{report.Seconds(f.all.Mean()), report.Ratio(1)}, f.waits()...)...)
	for _, e := range all {
		if e.err != nil {
			g.Add(e.name(), failed(e.err))
			continue
		}
		times := e.times()
		if etcd, ok := e.system.(*etcdkit); ok && etcd.commit {
			times = times.AtMost(goroutinesBound)
		}
		cells := append([]report.Cell{report.Seconds(e.perOp()), times}, e.waits()...)
		g.Add(e.name(), append(cells, most(e), e.left())...)
	}
	g.Note("All goroutines have one connection; etcdkit's have one Mutex, clientv3's a Mutex each, on the same name. With one session these have one key, and exclude no one: fast, and no lock.")
	return []*report.Group{g}, nil
}

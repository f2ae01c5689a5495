package locks

import (
	"context"
	"fmt"

	"github.com/etcdkit/etcdkit/bench/report"
)

// contest is the contended job with a number of clients, and etcdkit's bounds.
type contest struct {
	clients, ops int     // operations of a round
	bound        float64 // × one Put, with Commit
	worst        float64 // wait by the median one; 0: none
	faster       float64 // than clientv3's Mutex; 0: none
}

var contests = []contest{
	{2, 100, 2.2, 0, 12},
	{10, 300, 2.5, 1.5, 0},
	{50, 500, 2.8, 1.5, 0},
}

// contended measures the Adder's and the Subtractor's work. In each round the systems come in a
// new order, each with new clients, and with puts before and after.
func (j *job) contended(ctx context.Context) ([]*report.Group, error) {
	f, err := j.site.floor(ctx)
	if err != nil {
		return nil, err
	}
	defer f.close()
	var groups []*report.Group
	for _, c := range contests {
		f.all = nil
		all := contestants(append([]system{
			&etcdkit{site: j.site, commit: true}, &etcdkit{site: j.site}, &mutex{site: j.site}, &stm{j.site},
		}, j.peers.systems()...)...)
		ops := j.Either(c.ops, 2*c.clients)
		if err := j.rounds(ctx, fmt.Sprintf("contended, %d clients", c.clients), f, all, j.Either(5, 1), c.clients, ops); err != nil {
			return nil, err
		}
		groups = append(groups, c.group(f, all))
	}
	last := groups[len(groups)-1]
	last.Note("× raw Put is the median of the rounds, each with the Puts just before and after it; “faster than Mutex” is the ratio of two such; max ÷ p50 is of the median round, too.")
	last.Note("Waiting is from the call that asks for the lock until it is held; STM has no lock, and its waiting is the whole operation, which begins again until no other client has written in between; raw Put's is one Put, of all rounds, and tells how even the machine was.")
	last.Note("Hand-overs are the operations before which another client had the lock: one that its releaser takes again at once looks fast, and starves the others.")
	last.Note("Each client has a connection of its own, to all three members. Each system keeps the counter in its own store: etcd's in a key, redsync's with GET and SET on one of the three servers, ZooKeeper's in a node.")
	return groups, nil
}

func (c contest) group(f *floor, all []*contestant) *report.Group {
	g := &report.Group{
		Name:  fmt.Sprintf("contended-%d", c.clients),
		Title: fmt.Sprintf("One counter under one lock, %d clients", c.clients),
		Columns: []string{
			"per operation", "× raw Put", "× faster than Mutex", "wait p50", "max", "max ÷ p50", "hand-overs", "most holders", "left in the counter",
		},
	}
	var theirs float64
	for _, e := range all {
		if _, ok := e.system.(*mutex); ok && e.err == nil {
			theirs = e.ratios.Median()
		}
	}
	g.Add("raw Put", append([]report.Cell{report.Seconds(f.all.Mean()), report.Ratio(1), none}, f.waits()...)...)
	for _, e := range all {
		if e.err != nil {
			g.Add(e.name(), failed(e.err))
			continue
		}
		g.Add(e.name(), c.cells(e, theirs)...)
		if c.clients == 10 {
			g.Distributions = append(g.Distributions, report.Distribute(chartOf(e.system), e.name(), e.history.waits))
		}
	}
	return g
}

// none is where a column does not apply.
var none = report.Words("—", "")

func (c contest) cells(e *contestant, theirs float64) []report.Cell {
	l := &e.history
	times, faster, w := e.times(), report.RatioOf(theirs, e.ratios.Median()), e.waits()
	if etcd, ok := e.system.(*etcdkit); ok && etcd.commit {
		times = times.AtMost(c.bound)
		if c.faster > 0 && faster.Words == "" {
			faster = faster.AtLeast(c.faster)
		}
		if c.worst > 0 {
			w[2] = w[2].AtMost(c.worst)
		}
	}
	cells := append([]report.Cell{report.Seconds(e.perOp()), times, faster}, w...)
	return append(cells, report.Percent(l.handOvers()), most(e), e.left())
}

// chartOf parts the lines in two pictures: one has four colours.
func chartOf(s system) string {
	switch s.(type) {
	case *etcdkit, *mutex, *stm:
		return "waiting for the lock, 10 clients: on etcd"
	}
	return "waiting for the lock, 10 clients: on others' stores"
}

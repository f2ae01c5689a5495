package locks

import (
	"context"
	"fmt"
	"time"

	"github.com/etcdkit/etcdkit/bench/report"
)

// uncontendedBound is etcdkit's, × two sequential Puts, at p50.
const uncontendedBound = 1.05

// solo is a system with one client.
type solo struct {
	*contestant
	label  string
	writes bool // one write goes with the leaving
	alone  report.Sample
	pairs  report.Sample // of puts, one before each
}

// uncontended measures a lock that no other client wants. Before each operation there are two Puts, so
// that noise hits both alike.
func (j *job) uncontended(ctx context.Context) ([]*report.Group, error) {
	f, err := j.site.floor(ctx)
	if err != nil {
		return nil, err
	}
	defer f.close()
	solos := []*solo{
		{label: "two raw transactions", contestant: &contestant{system: &bare{j.site}}},
		{label: "etcdkit Acquire + Release", contestant: &contestant{system: &etcdkit{site: j.site}}},
		{label: "etcdkit Acquire + Commit", contestant: &contestant{system: &etcdkit{site: j.site, commit: true}}, writes: true},
	}
	for _, e := range contestants(append([]system{&mutex{site: j.site}}, j.peers.systems()...)...) {
		solos = append(solos, &solo{label: e.name() + ", taken and given back", contestant: e})
	}
	var floors report.Sample
	for i, s := range solos {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		j.Progress.Step("uncontended", s.label, i+1, len(solos))
		s.err = s.with(ctx, 1, func(t *team) error { return s.run(ctx, f, t.members[0], j.Either(500, 30)) })
		floors = append(floors, s.pairs...)
	}
	g := &report.Group{
		Name: "uncontended", Title: "A lock that no other client wants",
		Columns: []string{"p50", "p99", "p50 × two Puts"},
	}
	g.Add("two raw Puts", report.Seconds(floors.Median()), report.Seconds(floors.Quantile(0.99)), report.Ratio(1))
	for _, s := range solos {
		g.Rows = append(g.Rows, s.row())
	}
	g.Note("The raw transactions are those of Acquire and Release, without a lock around them: a transaction costs etcd more than a Put.")
	g.Note("Acquire + Commit includes a read and a write of the caller's, which ride on the two requests; the others are the lock alone.")
	return []*report.Group{g}, nil
}

func (s *solo) run(ctx context.Context, f *floor, c contender, n int) error {
	ctx, cancel := context.WithTimeoutCause(ctx, raceTimeout, fmt.Errorf("not done in %v", raceTimeout))
	defer cancel()
	const unmeasured = 5
	for i := range unmeasured + n {
		began := time.Now()
		if err := f.puts(ctx, 2, 0, &s.puts); err != nil {
			return err
		}
		put := time.Now()
		if err := s.once(ctx, c); err != nil {
			return err
		}
		if i >= unmeasured {
			s.pairs.Add(put.Sub(began))
			s.alone.Add(time.Since(put))
		}
	}
	return nil
}

func (s *solo) once(ctx context.Context, c contender) error {
	if err := c.take(ctx); err != nil {
		return err
	}
	if s.writes {
		if err := c.add(ctx, 1); err != nil {
			return err
		}
	}
	return c.leave(ctx)
}

func (s *solo) row() report.Row {
	if s.err != nil {
		return report.Row{Name: s.label, Cells: []report.Cell{failed(s.err)}}
	}
	p50 := s.alone.Median()
	times := report.RatioOf(p50, s.pairs.Median())
	if _, isEtcdkit := s.system.(*etcdkit); isEtcdkit {
		times = times.AtMost(uncontendedBound)
	}
	return report.Row{Name: s.label, Cells: []report.Cell{report.Seconds(p50), report.Seconds(s.alone.Quantile(0.99)), times}}
}

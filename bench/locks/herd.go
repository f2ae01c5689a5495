package locks

import (
	"context"
	"fmt"

	"github.com/etcdkit/etcdkit/bench/lab"
	"github.com/etcdkit/etcdkit/bench/report"
)

// herdBound is etcdkit's, wake-ups by hand-over with 50 clients: one, and the ends of the run.
const herdBound = 1.05

// herd counts what goes over the wire while clients contend.
func (j *job) herd(ctx context.Context) ([]*report.Group, error) {
	g := &report.Group{
		Name: "herd", Title: "What goes over the wire while clients contend",
		Columns: []string{"clients", "requests per operation", "watches opened per operation", "wake-ups per hand-over"},
	}
	for _, clients := range []int{2, 10, 50} {
		var meter lab.Meter
		s := j.site.with(meter.Options()...)
		for i, e := range contestants(&etcdkit{site: s, commit: true}, &etcdkit{site: s}, &mutex{site: s}, &stm{s}) {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			j.Progress.Step(fmt.Sprintf("herd of %d", clients), e.name(), i+1, 4)
			var t lab.Traffic
			e.err = e.with(ctx, clients, func(team *team) (err error) {
				t, err = e.traffic(ctx, &meter, team, j.Either(40, 3)*max(clients, 10))
				return err
			})
			g.Add(e.name(), append([]report.Cell{report.Count(float64(clients))}, e.herd(t, clients)...)...)
		}
	}
	g.Note("Counted in the clients, below their retries: requests that have one answer; watches that were asked for; messages with events, which wake a waiter, which may then find that they are not about it. Keepalives are not counted.")
	return []*report.Group{g}, nil
}

// traffic is that of a race, from when all are warm.
func (e *contestant) traffic(ctx context.Context, m *lab.Meter, t *team, ops int) (lab.Traffic, error) {
	if err := race(ctx, t, &history{}, len(t.members)); err != nil {
		return lab.Traffic{}, fmt.Errorf("warm up: %w", err)
	}
	before := m.Traffic()
	err := race(ctx, t, &e.history, ops)
	return m.Traffic().Since(before), err
}

func (e *contestant) herd(t lab.Traffic, clients int) []report.Cell {
	if e.err != nil {
		return []report.Cell{failed(e.err)}
	}
	per := func(n int64, of int) report.Cell { return report.Count(float64(n) / float64(max(of, 1))) }
	wakes := per(t.Wakes, e.history.changes)
	if _, isEtcdkit := e.system.(*etcdkit); isEtcdkit && clients == 50 {
		wakes = wakes.AtMost(herdBound)
	}
	return []report.Cell{per(t.Requests, e.history.turns), per(t.Watches, e.history.turns), wakes}
}

package services

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/bench/report"
	"github.com/etcdkit/etcdkit/client"
	"github.com/etcdkit/etcdkit/discovery"
)

// busyPickBound is etcdkit's, to pick among 10,000 while 1,000 of them change a second.
const busyPickBound = 50e-9

// way is one to pick an instance.
type way struct {
	label string
	library
	policy *discovery.Options // etcdkit's
	key    string             // for PickFor
}

// pick measures picking by each policy, while nothing changes and while much does.
func (j *job) pick(ctx context.Context) (*report.Group, error) {
	g := &report.Group{
		Name: "pick", Title: "Pick one, by each policy, while the list stands still and while it changes",
		Columns: []string{"instances", "changes/s", "pick", "allocs"},
	}
	kit := &etcdkit{shared: true}
	ways := []way{
		{"etcdkit, weighted", kit, &discovery.Options{}, ""},
		{"etcdkit, round robin", kit, &discovery.Options{Policy: discovery.RoundRobin}, ""},
		{"etcdkit, least pending", kit, &discovery.Options{Policy: discovery.LeastPending}, ""},
		{"etcdkit, in its zone", kit, &discovery.Options{Zone: "a"}, ""},
		{"etcdkit, for a key", kit, &discovery.Options{}, "a key"},
		{"go-zero, Values and an index", &gozero{}, nil, ""},
		{"go-kit, round robin", &gokit{}, nil, ""},
	}
	for i, w := range ways {
		j.Progress.Step("pick", w.label, i+1, len(ways))
		if err := guard(func() error { return j.pickBy(ctx, g, w) }); err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			g.Add(w.label, report.Failed(err))
		}
	}
	g.Note("etcdkit's choices leave out instances that drain or have just failed. Taking in the changes costs this process as well.")
	return g, nil
}

func (j *job) pickBy(ctx context.Context, g *report.Group, w way) error {
	n, service := j.Either(10_000, 1000), "pick"
	ops := make([]clientv3.Op, n)
	for i := range ops {
		ops[i] = w.op(service, i)
	}
	if err := j.Lab.Fill(ctx, ops); err != nil {
		return err
	}
	defer j.Lab.Clear(ctx, root+service+"/")
	pick, end, err := j.picker(ctx, w, service, n)
	if err != nil {
		return err
	}
	defer end()
	for _, rate := range []int{0, 1000} {
		stop := j.churn(ctx, ops, rate)
		cells, err := timed(pick, w.policy != nil, busyPickBound)
		stop()
		if err != nil {
			return err
		}
		g.Add(w.label, append([]report.Cell{report.Count(float64(n)), report.Count(float64(rate))}, cells...)...)
	}
	return nil
}

// op writes the i-th instance: for etcdkit with a weight and a zone.
func (w *way) op(service string, i int) clientv3.Op {
	key, value := w.record(service, address(i), address(i))
	if w.policy != nil {
		self := instance(service, address(i), address(i))
		self.Weight, self.Zone = 1+i%5, string(rune('a'+i%3))
		value, _ = self.Encode() // it is valid
	}
	return clientv3.OpPut(key, value)
}

// picker opens what is picked from, full.
func (j *job) picker(ctx context.Context, w way, service string, n int) (pick func() error, end func(), err error) {
	if w.policy == nil {
		r, err := j.reader(ctx, w.library, service, n)
		if err != nil {
			return nil, nil, err
		}
		return r.pick, r.end, nil
	}
	cli, err := client.Dial(ctx, &client.Options{Endpoints: []string{j.Lab.Leader()}})
	if err != nil {
		return nil, nil, err
	}
	v, err := discovery.Open(ctx, cli, service, w.policy)
	if err != nil {
		return nil, nil, errors.Join(err, cli.Close())
	}
	end = func() { _ = errors.Join(v.Close(), cli.Close()) }
	if got := len(v.Instances()); got != n {
		end()
		return nil, nil, fmt.Errorf("%d of %d instances", got, n)
	}
	if w.key != "" {
		return func() error { _, err := v.PickFor(w.key); return err }, end, nil
	}
	return func() error { _, err := v.Pick(); return err }, end, nil
}

// churn puts instances again, so many a second and twenty in a transaction, until it is stopped.
func (j *job) churn(ctx context.Context, ops []clientv3.Op, rate int) (stop func()) {
	if rate == 0 {
		return func() {}
	}
	const together = 20
	ctx, cancel := context.WithCancel(ctx)
	var churning sync.WaitGroup
	churning.Go(func() {
		tick := time.NewTicker(time.Second * together / time.Duration(rate))
		defer tick.Stop()
		for at := 0; ; at = (at + together) % (len(ops) - together) {
			select {
			case <-tick.C:
				_ = j.Lab.Fill(ctx, ops[at:at+together]) // one that fails is a change less
			case <-ctx.Done():
				return
			}
		}
	})
	return func() {
		cancel()
		churning.Wait()
	}
}

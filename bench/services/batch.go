package services

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/naming/endpoints"

	"github.com/etcdkit/etcdkit/bench/lab"
	"github.com/etcdkit/etcdkit/bench/report"
	"github.com/etcdkit/etcdkit/client"
	"github.com/etcdkit/etcdkit/registry"
)

const (
	batchService   = "batch"
	batchByTxn     = 1.5 // etcdkit's bound, × raw transactions
	batchBySingles = 20  // etcdkit's bound, times faster than Grant + Put each
	txnOps         = 128 // etcd's limit
	leaseKeys      = 1000
	batchTimeout   = 5 * time.Minute
)

// crowd registers many instances from one process, and returns how long that took: from the first
// call until all are in etcd. Connecting is no part of it where one connection is enough.
type crowd struct {
	name  string
	how   string
	most  int // more are not tried; 0: any number
	why   string
	times int // measurements of 1,000, of which the median counts
	run   func(ctx context.Context, endpoints []string, n int) (time.Duration, error)
}

func crowds() []crowd {
	return []crowd{
		{name: "raw transactions", how: "128 puts each, on one lease per 1,000 keys", times: 5, run: crowdRaw},
		{name: "etcdkit", how: "Registrar.Register(all...)", times: 5, run: crowdEtcdkit},
		{name: "etcd naming", how: "Manager.Update of 128, on one lease per 1,000 keys", times: 5, run: crowdNaming},
		{name: "raw Grant + Put each", how: "one after the other", times: 1, run: crowdSingles(&raw{grant: true})},
		{name: "go-zero", how: "a Publisher each, one after the other", times: 1, run: crowdSingles(&gozero{})},
		{name: "go-kit", how: "a Client and a Registrar each, one after the other", times: 1, run: crowdSingles(&gokit{}),
			most: 1000, why: "go-kit's Client carries one registration (Register closes the lease of the one before), so 10,000 take 10,000 connections"},
	}
}

// batch measures 1,000 and 10,000 registrations from one process.
func (j *job) batch(ctx context.Context) (*report.Group, error) {
	g := &report.Group{
		Name:    "batch",
		Title:   "Many registrations from one process: from the first call until all are in etcd",
		Columns: []string{"n", "total", "each", "× raw transactions", "times faster than Grant + Put each"},
	}
	sizes := []int{1000, 10_000}
	if j.Quick {
		sizes = []int{200}
	}
	for _, n := range sizes {
		if err := j.batchOf(ctx, g, n); err != nil {
			return nil, err
		}
	}
	for _, c := range crowds() {
		g.Note(c.name + ": " + c.how + ".")
	}
	g.Note("Raw values are etcdkit's, which are the longest. After a minute go-zero's client goes to all members, by its AutoSyncInterval; the others stay with the leader.")
	g.Note("The first three take turns; the median of five counts (three at 10,000). The others run once.")
	return g, nil
}

func (j *job) batchOf(ctx context.Context, g *report.Group, n int) error {
	all := crowds()
	samples, errs := make([]report.Sample, len(all)), make([]error, len(all))
	most := 5
	if n > 1000 {
		most = 3
	}
	for turn := range most {
		for i, c := range all {
			if turn >= c.times || errs[i] != nil || c.most > 0 && n > c.most {
				continue
			}
			j.Progress.Step(fmt.Sprintf("batch of %d", n), c.name, turn+1, min(most, c.times))
			errs[i] = guard(func() error {
				bounded, cancel := context.WithTimeout(ctx, batchTimeout)
				defer cancel()
				took, err := c.run(bounded, []string{j.Lab.Leader()}, n)
				if err == nil {
					samples[i].Add(took)
				}
				return err
			})
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err := errors.Join(j.Lab.RevokeAll(ctx), j.Lab.Clear(ctx, root)); err != nil {
				g.Note(fmt.Sprintf("After %s, with %d: %v. What was measured next may be off.", c.name, n, err))
			}
		}
	}
	txns, singles := samples[0].Median(), samples[3].Median()
	for i, c := range all {
		g.Add(c.name, batchCells(c, n, samples[i], errs[i], txns, singles)...)
	}
	return nil
}

func batchCells(c crowd, n int, s report.Sample, err error, txns, singles float64) []report.Cell {
	size := report.Count(float64(n))
	switch {
	case c.most > 0 && n > c.most:
		return []report.Cell{size, report.Words("not measured", c.why)}
	case err != nil:
		return []report.Cell{size, report.Failed(err)}
	}
	total := s.Median()
	slower, faster := report.RatioOf(total, txns), report.RatioOf(singles, total)
	if c.name == "etcdkit" {
		slower, faster = slower.AtMost(batchByTxn), faster.AtLeast(batchBySingles)
	}
	return []report.Cell{size, report.Seconds(total), report.Seconds(total / float64(n)), slower, faster}
}

func crowdRaw(ctx context.Context, addrs []string, n int) (time.Duration, error) {
	cli, err := lab.Client(addrs...)
	if err != nil {
		return 0, err
	}
	defer cli.Close()
	if _, err := cli.Get(ctx, "connect"); err != nil {
		return 0, err
	}
	keys, vals := make([]string, n), make([]string, n)
	for i := range n { // etcdkit's values, which are the longest
		keys[i], vals[i] = (&etcdkit{}).record(batchService, address(i), address(i))
	}
	begin := time.Now()
	for at := 0; at < n; at += leaseKeys {
		l, err := cli.Grant(ctx, int64(defaultTTL.Seconds()))
		if err != nil {
			return 0, err
		}
		for from, end := at, min(at+leaseKeys, n); from < end; from += txnOps {
			var ops []clientv3.Op
			for i := from; i < min(from+txnOps, end); i++ {
				ops = append(ops, clientv3.OpPut(keys[i], vals[i], clientv3.WithLease(l.ID)))
			}
			if _, err := cli.Txn(ctx).Then(ops...).Commit(); err != nil {
				return 0, err
			}
		}
	}
	return time.Since(begin), nil
}

func crowdEtcdkit(ctx context.Context, addrs []string, n int) (time.Duration, error) {
	cli, err := client.Dial(ctx, &client.Options{Endpoints: addrs})
	if err != nil {
		return 0, err
	}
	defer cli.Close()
	instances := make([]registry.Instance, n)
	for i := range n {
		instances[i] = instance(batchService, address(i), address(i))
	}
	begin := time.Now()
	r, err := registry.New(cli, nil)
	if err != nil {
		return 0, err
	}
	_, err = r.Register(ctx, instances...)
	took := time.Since(begin)
	if closed := r.Close(); err == nil {
		err = closed
	}
	return took, err
}

func crowdNaming(ctx context.Context, addrs []string, n int) (time.Duration, error) {
	made, err := (&naming{}).writer(ctx, addrs, defaultTTL)
	if err != nil {
		return 0, err
	}
	w := made.(*namingWriter)
	defer w.close()
	if _, err := w.cli.Get(ctx, "connect"); err != nil {
		return 0, err
	}
	m, err := endpoints.NewManager(w.cli, root+batchService)
	if err != nil {
		return 0, err
	}
	begin := time.Now()
	for at := 0; at < n; at += leaseKeys {
		id, err := w.lease(ctx)
		if err != nil {
			return 0, err
		}
		for from, end := at, min(at+leaseKeys, n); from < end; from += txnOps {
			var updates []*endpoints.UpdateWithOpts
			for i := from; i < min(from+txnOps, end); i++ {
				key := root + batchService + "/" + address(i)
				updates = append(updates, endpoints.NewAddUpdateOpts(key, endpoints.Endpoint{Addr: address(i)}, clientv3.WithLease(id)))
			}
			if err := m.Update(ctx, updates); err != nil {
				return 0, err
			}
		}
	}
	return time.Since(begin), nil
}

// crowdSingles registers one instance after the other, as a library without batches is used.
func crowdSingles(l library) func(context.Context, []string, int) (time.Duration, error) {
	return func(ctx context.Context, addrs []string, n int) (took time.Duration, err error) {
		w, err := l.writer(ctx, addrs, defaultTTL)
		if err != nil {
			return 0, err
		}
		defer w.close()
		leaves := make([]func() error, 0, n)
		defer func() { depart(leaves) }()
		begin := time.Now()
		for i := range n {
			if ctx.Err() != nil {
				return 0, ctx.Err()
			}
			leave, err := w.register(ctx, batchService, address(i))
			if err != nil {
				return 0, fmt.Errorf("registration %d of %d: %w", i+1, n, err)
			}
			leaves = append(leaves, leave)
		}
		return time.Since(begin), nil
	}
}

// depart withdraws all, 32 at a time. An error does no harm: the keys are deleted anyway, and their
// leases end.
func depart(leaves []func() error) {
	var wg sync.WaitGroup
	turns := make(chan struct{}, 32)
	for _, leave := range leaves {
		turns <- struct{}{}
		wg.Go(func() {
			_ = guard(leave)
			<-turns
		})
	}
	wg.Wait()
}

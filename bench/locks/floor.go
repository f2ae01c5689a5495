package locks

import (
	"context"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"

	"github.com/etcdkit/etcdkit/bench/report"
)

// floor is one client that puts, one time after the other.
type floor struct {
	cli *clientv3.Client
	all report.Sample
}

func (s *site) floor(ctx context.Context) (*floor, error) {
	cli, err := s.dial(ctx)
	return &floor{cli: cli}, err
}

func (f *floor) close() error { return f.cli.Close() }

// puts adds n of them to a sample, too. Before each is a pause, if work between them is: what has
// stood idle answers later.
func (f *floor) puts(ctx context.Context, n int, pause time.Duration, to *report.Sample) error {
	for range n {
		if err := idle(ctx, pause); err != nil {
			return err
		}
		began := time.Now()
		if _, err := f.cli.Put(ctx, root+"floor", "1"); err != nil {
			return err
		}
		took := time.Since(began)
		f.all.Add(took)
		to.Add(took)
	}
	return nil
}

// waits are the cells of how long each one took.
func (f *floor) waits() []report.Cell {
	p50, worst := f.all.Median(), f.all.Quantile(1)
	return []report.Cell{report.Seconds(p50), report.Seconds(worst), report.RatioOf(worst, p50)}
}

// bare are the two transactions of a lock without the lock: enter a queue and read it,
// leave it. Who is not alone does not wait.
type bare struct{ *site }

func (*bare) name() string { return "raw transactions" }

func (b *bare) open(ctx context.Context, n int) (*team, error) {
	name := b.fresh()
	return assemble(n, func(t *team) (contender, error) {
		cli, err := b.join(ctx, t)
		if err != nil {
			return nil, err
		}
		s, err := concurrency.NewSession(cli, concurrency.WithTTL(10))
		if err != nil {
			return nil, err
		}
		t.atEnd(s.Close)
		return &transactor{cli: cli, queue: name + "/", key: fmt.Sprintf("%s/%x", name, s.Lease()), lease: s.Lease()}, nil
	})
}

type transactor struct {
	cli        *clientv3.Client
	queue, key string
	lease      clientv3.LeaseID
	revision   int64 // at which it entered
}

func (t *transactor) created(revision int64) clientv3.Cmp {
	return clientv3.Compare(clientv3.CreateRevision(t.key), "=", revision)
}

func (t *transactor) take(ctx context.Context) error {
	resp, err := t.cli.Txn(ctx).If(t.created(0)).
		Then(clientv3.OpPut(t.key, "", clientv3.WithLease(t.lease)), clientv3.OpGet(t.queue, append(clientv3.WithLastCreate(), clientv3.WithKeysOnly())...)).Commit()
	if err == nil {
		t.revision = resp.Header.Revision
	}
	return err
}

func (*transactor) add(context.Context, int) error { return nil }

func (t *transactor) leave(ctx context.Context) error {
	_, err := t.cli.Txn(ctx).If(t.created(t.revision)).Then(clientv3.OpDelete(t.key)).Commit()
	return err
}

// idle lets time pass, as work does that needs no etcd.
func idle(ctx context.Context, length time.Duration) error {
	if length == 0 {
		return nil
	}
	t := time.NewTimer(length)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

package locks

import (
	"context"
	"errors"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/lock"
)

// etcdkit is lock.Mutex.
type etcdkit struct {
	*site
	commit   bool // the counter's read rides on Acquire and its write on Commit
	together bool // all are goroutines with one Mutex
}

func (e *etcdkit) name() string {
	if e.commit {
		return "etcdkit Commit"
	}
	return "etcdkit Release"
}

func (e *etcdkit) open(ctx context.Context, n int) (*team, error) {
	name := e.fresh()
	var cli *clientv3.Client
	var m *lock.Mutex
	return assemble(n, func(t *team) (_ contender, err error) {
		if m == nil || !e.together {
			if cli, err = e.join(ctx, t); err != nil {
				return nil, err
			}
			m = lock.New(cli, name, nil)
			t.atEnd(m.Close)
			t.value = value(cli, counter(name))
		}
		h := holder{mutex: m, counter: counter(name)}
		if e.commit {
			return &committer{holder: h}, nil
		}
		return &releaser{holder: h, cli: cli}, nil
	})
}

type holder struct {
	mutex   *lock.Mutex
	counter string
	hold    *lock.Hold
}

// committer needs no request of its own for the counter.
type committer struct {
	holder
	n   int
	ops []clientv3.Op
}

func (c *committer) take(ctx context.Context) (err error) {
	if c.hold, err = c.mutex.Acquire(ctx, clientv3.OpGet(c.counter)); err != nil {
		return err
	}
	c.n, err = count(c.hold.Reads()[0])
	return err
}

func (c *committer) add(_ context.Context, delta int) error {
	c.ops = []clientv3.Op{put(c.counter, c.n+delta)}
	return nil
}

func (c *committer) leave(ctx context.Context) error {
	_, err := c.hold.Commit(ctx, c.ops...)
	c.ops = nil
	return err
}

// releaser reads, writes if it still holds the lock, and releases.
type releaser struct {
	holder
	cli *clientv3.Client
}

func (r *releaser) take(ctx context.Context) (err error) {
	r.hold, err = r.mutex.Acquire(ctx)
	return err
}

func (r *releaser) add(ctx context.Context, delta int) error {
	resp, err := r.cli.Get(ctx, r.counter)
	if err != nil {
		return err
	}
	n, err := count(resp)
	if err != nil {
		return err
	}
	txn, err := r.hold.Txn(ctx).Then(put(r.counter, n+delta)).Commit()
	if err == nil && !txn.Succeeded {
		err = errors.New("the lock was lost before the write")
	}
	return err
}

func (r *releaser) leave(ctx context.Context) error { return r.hold.Release(ctx) }

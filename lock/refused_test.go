package lock_test

import (
	"context"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/election"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/lock"
)

func TestWithRefusedConnectionsEachErrorNamesTheEndpointAndTheCause(t *testing.T) {
	t.Parallel()
	c := etcdtest.NewCluster(t, &cluster.Options{Members: 1})
	cli := etcdtest.Client(t, c)
	opts := &lock.Options{TTL: time.Minute}
	hold := func(name string) (*lock.Mutex, *lock.Hold) {
		m := lock.New(cli, name, opts)
		t.Cleanup(func() { m.Close() })
		return m, acquire(t, m)
	}
	free, saved := hold("free")
	text := saved.ResumeToken()
	release(t, saved)
	idle, had := hold("idle") // not free's: that is busy while its Acquire waits
	release(t, had)
	_, released := hold("released")
	_, committed := hold("committed")
	e, f := election.New(cli, "jobs", &election.Options{TTL: time.Minute}), election.New(cli, "others", &election.Options{TTL: time.Minute})
	t.Cleanup(func() { e.Close(); f.Close() })
	var terms []*election.Term
	for _, e := range []*election.Election{e, f} {
		term, err := e.Campaign(bounded(t), "x")
		if err != nil {
			t.Fatal(err)
		}
		terms = append(terms, term)
	}
	if _, err := c.Kill(t.Context(), c.Names()[0]); err != nil {
		t.Fatal(err)
	}
	for what, call := range map[string]func(context.Context) error{
		"Acquire":                 func(ctx context.Context) error { _, err := free.Acquire(ctx); return err },
		"TryAcquire":              func(ctx context.Context) error { _, err := lock.New(cli, "x", opts).TryAcquire(ctx); return err },
		"TryAcquire with a lease": func(ctx context.Context) error { _, err := idle.TryAcquire(ctx); return err },
		"Resume": func(ctx context.Context) error {
			m := lock.New(cli, "free", opts)
			defer m.Close()
			_, err := m.Resume(ctx, text)
			return err
		},
		"Release":    func(ctx context.Context) error { return released.Release(ctx) },
		"Commit":     func(ctx context.Context) error { _, err := committed.Commit(ctx, clientv3.OpPut("x", "1")); return err },
		"Current":    func(ctx context.Context) error { _, err := e.Current(ctx); return err },
		"Campaign":   func(ctx context.Context) error { _, err := e.Campaign(ctx, "y"); return err },
		"Proclaim":   func(ctx context.Context) error { return terms[0].Proclaim(ctx, "z") },
		"Resign":     func(ctx context.Context) error { return terms[1].Resign(ctx) },
		"Entries":    func(ctx context.Context) error { _, err := lock.Entries(ctx, cli, "free", nil); return err },
		"Candidates": func(ctx context.Context) error { _, err := election.Candidates(ctx, cli, "jobs", nil); return err },
		"List": func(ctx context.Context) (last error) {
			for _, err := range lock.List(ctx, cli, "", nil) {
				last = err
			}
			return last
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
			defer cancel()
			err := call(ctx)
			t.Log(err)
			if err == nil || !strings.Contains(err.Error(), c.Endpoints()[0]) || !strings.Contains(err.Error(), "connection refused") {
				t.Errorf("got %v, want the endpoint %s and that it refuses", err, c.Endpoints()[0])
			}
		})
	}
}

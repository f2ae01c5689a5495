package lock_test

import (
	"context"
	"errors"
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
		"Leader":     func(ctx context.Context) error { _, err := e.Leader(ctx); return err },
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

func TestAnErrorIsOneSentenceThatSaysALossOnce(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	name := prefix + "lock"
	m := mutex(t, cli, name)
	gone := func(err error) {
		t.Helper()
		if text := err.Error(); !errors.Is(err, lock.ErrLost) || strings.Contains(text, "\n") || strings.Count(text, "lost") != 1 || !strings.Contains(text, "its key is gone") {
			t.Errorf("got %q, want in one line that it is lost, as its key is gone", text)
		}
	}
	boom := errors.New("boom")
	err := m.Do(bounded(t), func(_ context.Context, h *lock.Hold) error {
		if _, err := cli.Delete(bounded(t), h.Key()); err != nil {
			t.Fatal(err)
		}
		return boom
	})
	if gone(err); !errors.Is(err, boom) {
		t.Errorf("got %v, want what the function returned, too", err)
	}

	h := acquire(t, mutex(t, cli, name))
	w := queued(t, cli, name, 2, func(ctx context.Context) (*lock.Hold, error) { return m.Acquire(ctx) })
	all, err := cli.Get(bounded(t), name+"/", clientv3.WithLastCreate()...)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cli.Delete(bounded(t), string(all.Kvs[0].Key)); err != nil {
		t.Fatal(err)
	}
	gone(<-w.err)

	rw := lock.NewRW(cli, name, nil)
	defer rw.Close()
	_, err = rw.TryAcquireRead(bounded(t))
	if want := `lock: try to acquire a read hold of "` + name + `": taken by `; !errors.Is(err, lock.ErrTaken) || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v, want %s…", err, want)
	}
	release(t, h)
}

package lock_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/internal/queuetest"
	"github.com/etcdkit/etcdkit/lock"
)

func TestALongWaitLogsTheHolderAndEachChange(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	name := prefix + "lock"
	var l queuetest.Log
	m := withOptions(t, cli, name, lock.Options{TTL: 5 * time.Second, Logger: l.Logger()})
	release(t, acquire(t, m)) // of which nothing is said
	first := acquire(t, mutex(t, cli, name))
	second := queued(t, cli, name, 2, func(ctx context.Context) (*lock.Hold, error) { return mutex(t, cli, name).Acquire(ctx) })
	began := time.Now()
	wait := func(ctx context.Context) (*lock.Hold, error) { return m.Acquire(ctx) }
	a := queued(t, cli, name, 3, wait)
	b := queued(t, cli, name, 3, wait) // in this process
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	l.Has(t, 1, "INFO", `msg="waiting for lock"`, "name="+name, fmt.Sprint("pid=", os.Getpid()), "host="+host, "holder=lock.test", "since=20", "key="+first.Key(), fmt.Sprint("token=", first.Token()), "entries=3")
	if waited := time.Since(began); waited < 1500*time.Millisecond {
		t.Errorf("it says so after %v, want 1.5 s", waited)
	}
	release(t, first)
	h := second.gets(t)
	l.Has(t, 2, "INFO", `msg="waiting for lock"`, "key="+h.Key(), fmt.Sprint("token=", h.Token()))
	release(t, h)
	h = a.gets(t)
	l.Has(t, 3, "INFO", `msg="lock acquired after a wait"`, "waited=")
	a.stop()
	release(t, h)
	release(t, b.gets(t))
	l.Has(t, 4, "INFO", `msg="lock acquired after a wait"`)
}

func TestALongWaitLogsThatEtcdDoesNotAnswer(t *testing.T) {
	t.Parallel()
	c := etcdtest.NewCluster(t, &cluster.Options{Members: 1})
	cli := etcdtest.Client(t, c)
	var l queuetest.Log
	opts := lock.Options{TTL: time.Minute, Logger: l.Logger()}
	first := acquire(t, withOptions(t, cli, "lock", opts))
	next := withOptions(t, cli, "lock", opts)
	waiter := queued(t, cli, "lock", 2, func(ctx context.Context) (*lock.Hold, error) { return next.Acquire(ctx) })
	if _, err := c.Pause(t.Context(), "etcd1"); err != nil {
		t.Fatal(err)
	}
	l.Has(t, 1, "WARN", `msg="waiting for lock, and etcd does not answer"`, "name=lock", `error="no answer within 2s"`)
	if _, err := c.Resume(t.Context(), "etcd1"); err != nil {
		t.Fatal(err)
	}
	release(t, first)
	release(t, waiter.gets(t))
}

func TestALossIsLogged(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	var l queuetest.Log
	m := withOptions(t, cli, prefix+"lock", lock.Options{TTL: 5 * time.Second, Logger: l.Logger()})
	h := acquire(t, m)
	if _, err := cli.Delete(bounded(t), h.Key()); err != nil {
		t.Fatal(err)
	}
	if err := h.Release(bounded(t)); !errors.Is(err, lock.ErrLost) {
		t.Errorf("got %v, want ErrLost", err)
	}
	l.Has(t, 1, "ERROR", `msg="lock lost"`, "name="+prefix+"lock", "key="+h.Key(), fmt.Sprint("token=", h.Token()), "cause=")
	stats := m.Stats()
	if stats.Lost[lock.LossDeleted] != 1 || stats.Held != 0 || stats.HoldTime.Count != 1 || stats.WaitTime.Count != 1 {
		t.Errorf("it counts %+v", stats)
	}
}

func TestWhatOthersWroteIsLoggedSafely(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	s := session(t, cli)
	var waits sync.WaitGroup
	for last, value := range hostile(s.Lease()) {
		waits.Go(func() {
			var l raw
			name := fmt.Sprintf("%slock-%.4x", prefix, last)
			if _, err := cli.Put(bounded(t), name+"/"+last, value); err != nil {
				t.Error(err)
				return
			}
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			m := withOptions(t, cli, name, lock.Options{TTL: 5 * time.Second, Logger: slog.New(&l)})
			if _, err := m.Acquire(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v, want the deadline", err)
			}
			if len(l.texts) == 0 {
				t.Error("nothing was logged")
			}
			for _, text := range l.texts {
				harmless(t, "what was logged", text)
			}
		})
	}
	waits.Wait()
}

// raw is a handler that takes attributes as they are.
type raw struct {
	slog.Handler
	texts []string
}

func (r *raw) Enabled(context.Context, slog.Level) bool { return true }
func (r *raw) Handle(_ context.Context, record slog.Record) error {
	r.texts = append(r.texts, record.Message)
	record.Attrs(func(a slog.Attr) bool { r.texts = append(r.texts, a.Value.String()); return true })
	return nil
}

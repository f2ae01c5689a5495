package lock_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/lock"
)

// log is what was logged.
type log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *log) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func (l *log) lines() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Split(strings.TrimSuffix(l.text.String(), "\n"), "\n")
}

// has waits for so many lines, of which the last has all these texts.
func (l *log) has(t testing.TB, n int, texts ...string) {
	t.Helper()
	for ctx := bounded(t); ; {
		lines := l.lines()
		if len(lines) >= n && lines[0] != "" {
			for _, text := range texts {
				if !strings.Contains(lines[n-1], text) {
					t.Errorf("line %d is\n%s\nwant %s in it", n, lines[n-1], text)
				}
			}
			if len(lines) > n {
				t.Errorf("%d lines, want %d:\n%s", len(lines), n, strings.Join(lines, "\n"))
			}
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("want line %d, got\n%s", n, strings.Join(lines, "\n"))
		case <-time.After(time.Millisecond):
		}
	}
}

func TestALongWaitSaysForWhomAndAgainWhenThatChanges(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	name := prefix + "lock"
	var l log
	m := withOptions(t, cli, name, lock.Options{TTL: 5 * time.Second, Logger: l.logger()})
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
	l.has(t, 1, "INFO", `msg="waiting for lock"`, "name="+name, fmt.Sprint("pid=", os.Getpid()), "host="+host, "holder=lock.test", "since=20", "key="+first.Key(), fmt.Sprint("token=", first.Token()), "entries=3")
	if waited := time.Since(began); waited < 1500*time.Millisecond {
		t.Errorf("it says so after %v, want 1.5 s", waited)
	}
	release(t, first)
	h := second.gets(t)
	l.has(t, 2, "INFO", `msg="waiting for lock"`, "key="+h.Key(), fmt.Sprint("token=", h.Token()))
	release(t, h)
	h = a.gets(t)
	l.has(t, 3, "INFO", `msg="lock acquired after a wait"`, "waited=")
	a.stop()
	release(t, h)
	release(t, b.gets(t))
	l.has(t, 4, "INFO", `msg="lock acquired after a wait"`)
}

func TestALossIsLogged(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	var l log
	m := withOptions(t, cli, prefix+"lock", lock.Options{TTL: 5 * time.Second, Logger: l.logger()})
	h := acquire(t, m)
	if _, err := cli.Delete(bounded(t), h.Key()); err != nil {
		t.Fatal(err)
	}
	if err := h.Release(bounded(t)); !errors.Is(err, lock.ErrLost) {
		t.Errorf("got %v, want ErrLost", err)
	}
	l.has(t, 1, "ERROR", `msg="lock lost"`, "name="+prefix+"lock", "key="+h.Key(), fmt.Sprint("token=", h.Token()), "cause=")
	stats := m.Stats()
	if stats.Lost[lock.LossDeleted] != 1 || stats.Held != 0 || stats.HoldTime.Count != 1 || stats.WaitTime.Count != 1 {
		t.Errorf("it counts %+v", stats)
	}
}

func TestWhatOthersWroteIsLoggedHarmlessly(t *testing.T) {
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

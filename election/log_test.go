package election_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/etcdkit/etcdkit/election"
	"github.com/etcdkit/etcdkit/etcdtest"
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

// has waits for so many lines, of which the last has all these texts.
func (l *log) has(t testing.TB, n int, texts ...string) {
	t.Helper()
	for ctx := bounded(t); ; {
		l.mu.Lock()
		lines := strings.Split(l.text.String(), "\n")
		l.mu.Unlock()
		if len(lines) > n {
			for _, text := range texts {
				if !strings.Contains(lines[n-1], text) {
					t.Errorf("line %d is\n%s\nwant %s in it", n, lines[n-1], text)
				}
			}
			if len(lines) > n+1 {
				t.Errorf("%d lines, want %d:\n%s", len(lines)-1, n, strings.Join(lines, "\n"))
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

func TestACandidateSaysForWhomItWaitsAndWhatBecomesOfIt(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	name := prefix + "jobs"
	var l log
	e := election.New(cli, name, &election.Options{TTL: 5 * time.Second, Logger: slog.New(slog.NewTextHandler(&l, nil))})
	defer e.Close()
	leader := campaign(t, newElection(t, cli, name), "\x1b[2J")
	next := campaigning(bounded(t), e, "next")
	l.has(t, 1, "INFO", `msg="waiting to lead"`, "name="+name, `\\x1b[2J`, "key="+leader.Key(), fmt.Sprint("token=", leader.Token()))
	resign(t, leader)
	r := <-next
	if r.err != nil {
		t.Fatal(r.err)
	}
	l.has(t, 2, "INFO", "msg=elected", "key="+r.term.Key(), fmt.Sprint("token=", r.term.Token()))
	if stats := e.Stats(); stats.Leading != 1 || stats.Waiting != 0 || stats.WaitTime.Count != 1 || stats.WaitTime.Sum < time.Second {
		t.Errorf("it counts %+v", stats)
	}
	if _, err := cli.Delete(bounded(t), r.term.Key()); err != nil {
		t.Fatal(err)
	}
	if err := r.term.Resign(bounded(t)); !errors.Is(err, election.ErrLost) {
		t.Errorf("got %v, want ErrLost", err)
	}
	l.has(t, 3, "ERROR", `msg="term lost"`, "name="+name, "key="+r.term.Key(), "cause=")
	if stats := e.Stats(); stats.Leading != 0 || stats.Lost[election.LossDeleted] != 1 || stats.TermTime.Count != 1 {
		t.Errorf("it counts %+v", stats)
	}
}

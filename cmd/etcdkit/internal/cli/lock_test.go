package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/out"
	"github.com/etcdkit/etcdkit/election"
	"github.com/etcdkit/etcdkit/lock"
)

// scrubEntries replaces what differs from run to run in what is printed of locks and elections.
func scrubEntries(t *testing.T, s *shell) {
	t.Helper()
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	s.scrub(`\br?[0-9a-f]{12,14}\b|\br[0-9a-f]{15,16}\b`, "HEX")
	s.scrub(`(?:\d+s|-)( +)\d+( +)(cli\.test|another)`, "AGE${1}N$2$3") // of lock show
	s.scrub(`(?:\d+s|-)( +)(cli\.test|another)`, "AGE$1$2")             // of lock ls
	s.scrub(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`, "TIME")
	s.scrub(`pid \d+ on host `+regexp.QuoteMeta(host), "pid N on host HOST")
	s.scrub(`"pid":\d+`, `"pid":N`)
	s.scrub(`"host":"`+regexp.QuoteMeta(host)+`"`, `"host":"HOST"`)
	s.scrub(`"(token|revision)":\d+`, `"$1":N`)
	s.scrub(`token \d+`, "token N")
	s.scrub(`\b\d+  (HEX|PREFIX)`, "N  $1") // in a table
	s.scrub(`(/(?:jobs|theirs) +\d+ +)\d+`, "${1}N")
	s.scrub(` {3,}`, "  ") // whose columns are as wide as that
}

// hold acquires a lock for the test.
func hold(t *testing.T, acquire func(context.Context, ...clientv3.Op) (*lock.Hold, error)) *lock.Hold {
	t.Helper()
	h, err := acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// queueOf waits until a lock has so many entries.
func queueOf(t *testing.T, cli *clientv3.Client, name string, n int) *lock.Queue {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		q, err := lock.Entries(ctx, cli, name, nil)
		if err != nil {
			t.Fatal(err)
		}
		if q.Count == n {
			return q
		}
	}
}

func TestLockLsAndShow(t *testing.T) {
	s := newShell(t)
	scrubEntries(t, s)
	m := lock.New(s.cli, s.prefix+"jobs/nightly", &lock.Options{Data: "job \x1b[31m7"})
	defer m.Close()
	hold(t, m.Acquire)
	behind := lock.New(s.cli, s.prefix+"jobs/nightly", nil)
	ctx, stop := context.WithCancel(t.Context())
	waited := make(chan struct{})
	go func() { // ends with ctx
		defer close(waited)
		_, _ = behind.Acquire(ctx)
	}()
	defer func() { stop(); <-waited; behind.Close() }()
	queueOf(t, s.cli, s.prefix+"jobs/nightly", 2)
	sem := lock.NewSemaphore(s.cli, s.prefix+"downloads", 3, nil)
	defer sem.Close()
	if _, err := sem.AcquireN(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	session, err := concurrency.NewSession(s.cli)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	if err := concurrency.NewMutex(session, s.prefix+"theirs").Lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.golden("lockls",
		[]string{"lock", "ls", s.prefix},
		[]string{"lock", "ls", s.prefix + "jobs/", "-o", "json"},
		[]string{"lock", "ls", s.prefix, "-o", "value"},
		[]string{"lock", "ls", s.prefix, "-o", "template={{.name}} {{.waiting}}"},
		[]string{"lock", "ls", s.prefix + "none/"},
		[]string{"lock", "ls", s.prefix + "none/", "-o", "json"},
		[]string{"lock", "show", s.prefix + "jobs/nightly"},
		[]string{"lock", "show", s.prefix + "downloads"},
		[]string{"lock", "show", s.prefix + "downloads", "-o", "json"},
		[]string{"lock", "show", s.prefix + "downloads", "-o", "value"},
		[]string{"lock", "show", s.prefix + "theirs"},
		[]string{"lock", "show", s.prefix + "free"},
		[]string{"lock", "show", s.prefix},
		[]string{"lock", "show"},
		[]string{"lock", "shwo", "x"},
	)
}

// The first of several entries has gone: the others are revoked all the same, and each is reported.
func TestLockRevokeGoesOnWhenAnEntryHasGone(t *testing.T) {
	s := newShell(t)
	rw := lock.NewRW(s.cli, s.prefix+"config", nil)
	defer rw.Close()
	hold(t, rw.AcquireRead)
	two := hold(t, rw.AcquireRead)
	q := queueOf(t, s.cli, s.prefix+"config", 2)
	if err := lock.Revoke(t.Context(), s.cli, q.Entries[0]); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	a := &app{out: out.New(&stdout, &stderr)}
	err := a.lockRevoke(t.Context(), s.cli, q.Entries, true)
	var with *codedError
	if !errors.As(err, &with) || with.code != ExitNotFound || !strings.Contains(err.Error(), "of 2 entries 1 had left") {
		t.Errorf("got %v, want exit code 3, and that one had left", err)
	}
	if strings.Count(stdout.String(), "revoked: ") != 1 || strings.Count(stderr.String(), "has left meanwhile") != 1 {
		t.Errorf("got %q and %q, want one revoked and one that has left", stdout.String(), stderr.String())
	}
	select {
	case <-two.Done():
	case <-time.After(time.Minute):
		t.Error("the second holder still holds the lock")
	}
}

// More than a page of entries waits: one at the end is found.
func TestLockRevokeFindsAnEntryBehindAThousand(t *testing.T) {
	s := newShell(t)
	m := lock.New(s.cli, s.prefix+"job", nil)
	defer m.Close()
	hold(t, m.Acquire)
	const waiting = 1100
	for from := 0; from < waiting; from += 100 {
		var puts []clientv3.Op
		for n := from; n < from+100; n++ {
			puts = append(puts, clientv3.OpPut(fmt.Sprintf("%sjob/w%d", s.prefix, n), ""))
		}
		if _, err := s.cli.Txn(t.Context()).Then(puts...).Commit(); err != nil {
			t.Fatal(err)
		}
	}
	last := fmt.Sprintf("%sjob/w%d", s.prefix, waiting-1)
	if stdout, stderr, code := s.run("lock", "revoke", s.prefix+"job", "--entry", last, "--yes"); code != 0 || !strings.Contains(stdout, last) {
		t.Errorf("got %q, exit code %d, want the entry revoked", stdout+stderr, code)
	}
	if stdout, stderr, _ := s.run("lock", "show", s.prefix+"job"); strings.Count(stdout, "\n") != waiting+1 || strings.Contains(stderr, "more wait") {
		t.Errorf("got %d lines, %q, want %d", strings.Count(stdout, "\n"), stderr, waiting+1)
	}
}

func TestALockThatNothingHoldsIsSaidSo(t *testing.T) {
	q := &lock.Queue{Name: "job", Count: 1, Entries: []lock.Entry{{Name: "job", Key: "job/1", Status: lock.Waits}}}
	if _, err := chosenEntries(q, "", false); err == nil || err.Error() != `no process holds the lock "job"; 1 entry waits` {
		t.Errorf("got %v", err)
	}
}

// What elect get prints as base64, elect ls and top do, too.
func TestACandidatesBytesAreKept(t *testing.T) {
	s := newShell(t)
	e := election.New(s.cli, s.prefix+"leader", nil)
	defer e.Close()
	if _, err := e.Campaign(t.Context(), "\xff\x00"); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"elect", "get", s.prefix + "leader"}, {"elect", "ls", s.prefix}, {"top"}} {
		if stdout, stderr, code := s.run(append(args, "-o", "json")...); code != 0 || !strings.Contains(stdout, `"value":{"base64":"/wA="}`) {
			t.Errorf("%v: got %q, exit code %d", args, stdout+stderr, code)
		}
	}
}

func TestLockRevoke(t *testing.T) {
	s := newShell(t)
	scrubEntries(t, s)
	m := lock.New(s.cli, s.prefix+"job", nil)
	defer m.Close()
	h := hold(t, m.Acquire)
	rw := lock.NewRW(s.cli, s.prefix+"config", nil)
	defer rw.Close()
	one, two := hold(t, rw.AcquireRead), hold(t, rw.AcquireRead)
	session, err := concurrency.NewSession(s.cli)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	if err := concurrency.NewMutex(session, s.prefix+"theirs").Lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.golden("lockrevoke",
		[]string{"lock", "revoke", s.prefix + "job"},
		[]string{"lock", "revoke", s.prefix + "job", "--entry", s.prefix + "job/1-0", "--yes"},
		[]string{"lock", "revoke", s.prefix + "job", "--yes"},
		[]string{"lock", "revoke", s.prefix + "job", "--yes"},
		[]string{"lock", "revoke", s.prefix + "config", "--yes"},
		[]string{"lock", "revoke", s.prefix + "config", "--entry", one.Key(), "--yes"},
		[]string{"lock", "revoke", s.prefix + "config", "--entry", "x", "--holder"},
		[]string{"lock", "revoke", s.prefix + "config", "--holder", "--yes"},
		[]string{"lock", "revoke", s.prefix + "theirs", "--yes"},
		[]string{"lock", "ls", s.prefix},
	)
	for _, h := range []*lock.Hold{h, one, two} {
		select {
		case <-h.Done():
		case <-time.After(time.Minute):
			t.Errorf("the holder of %s is not told", h.Key())
		}
	}
}

func TestLockAcquireRenewAndRelease(t *testing.T) {
	s := newShell(t)
	scrubEntries(t, s)
	name := s.prefix + "deploy"
	handle, talk, code := s.run("lock", "acquire", name, "--ttl", "50s")
	if code != 0 || !regexp.MustCompile(`^[A-Za-z0-9_-]+\n$`).MatchString(handle) || !strings.Contains(talk, "is held for 50s") {
		t.Fatalf("got %q, %q, code %d: want a handle on stdout", handle, talk, code)
	}
	handle = strings.TrimSpace(handle)
	s.scrub(handle, "HANDLE")
	if q := queueOf(t, s.cli, name, 1); q.Entries[0].Status != lock.Holds {
		t.Fatalf("the entry is %+v", q.Entries[0])
	}
	s.golden("lockacquire",
		[]string{"lock", "acquire", name, "--nonblock"},
		[]string{"lock", "acquire", name, "--timeout", "50ms"},
		[]string{"lock", "acquire", name, "--timeout", "50ms", "--shared"},
		[]string{"lock", "acquire", name, "--timeout", "50ms", "--n", "3"},
		[]string{"lock", "acquire", name, "--timeout", "-1s"},
		[]string{"lock", "acquire", name, "--timeout", "1s", "--nonblock"},
		[]string{"lock", "acquire", name, "--n", "0"},
		[]string{"lock", "acquire", name, "--n", "2", "--shared"},
		[]string{"lock", "acquire", name, "--ttl", "1500ms"},
		[]string{"lock", "acquire", ""},
		[]string{"lock", "acquire", name + "/"},
		[]string{"lock", "renew", handle},
		[]string{"lock", "renew", "rubbish\x1b[2J"},
		[]string{"lock", "release", handle},
		[]string{"lock", "release", handle},
		[]string{"lock", "renew", handle},
		[]string{"lock", "release"},
	)
	queueOf(t, s.cli, name, 0)
	handle, _, code = s.run("lock", "acquire", name, "--n", "3")
	if code != 0 {
		t.Fatalf("a semaphore: code %d", code)
	}
	s.stdin = handle
	if _, talk, code := s.run("lock", "release", "-"); code != 0 {
		t.Errorf("release of stdin's handle: %s, code %d", talk, code)
	}
	queueOf(t, s.cli, name, 0)
}

// What was acquired and cannot be told is given back.
func TestAHandleThatCannotBePrintedIsReleased(t *testing.T) {
	s := newShell(t)
	var talk strings.Builder
	code := Run(t.Context(), []string{"lock", "acquire", s.prefix + "job"}, strings.NewReader(""), fullDisk{}, &talk)
	if code == 0 {
		t.Errorf("code 0, %s", talk.String())
	}
	queueOf(t, s.cli, s.prefix+"job", 0)
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, os.ErrInvalid }

func TestASignalWhileLockAcquireWaitsLeavesTheQueue(t *testing.T) {
	s := newShell(t)
	m := lock.New(s.cli, s.prefix+"job", nil)
	defer m.Close()
	hold(t, m.Acquire)
	ctx, signal := context.WithCancel(t.Context())
	code := make(chan int, 1)
	go func() { // waited for below
		code <- Run(ctx, []string{"lock", "acquire", s.prefix + "job"}, strings.NewReader(""), new(strings.Builder), new(strings.Builder))
	}()
	queueOf(t, s.cli, s.prefix+"job", 2)
	signal()
	if got := <-code; got != ExitInterrupted {
		t.Errorf("exit code %d, want %d", got, ExitInterrupted)
	}
	queueOf(t, s.cli, s.prefix+"job", 1)
}

func TestElectVerbs(t *testing.T) {
	s := newShell(t)
	scrubEntries(t, s)
	s.golden("electvacant",
		[]string{"elect", "get", s.prefix + "jobs"},
		[]string{"elect", "resign", s.prefix + "jobs", "--yes"},
		[]string{"elect", "ls", s.prefix},
		[]string{"elect", "get", ""},
		[]string{"elect", "get"},
	)
	s.scrub(`/(HEX)-[A-Z2-7]{10}`, "/$1-UNIQUE")
	e := election.New(s.cli, s.prefix+"jobs", nil)
	defer e.Close()
	term, err := e.Campaign(t.Context(), "10.0.0.1:80\x1b[2J")
	if err != nil {
		t.Fatal(err)
	}
	session, err := concurrency.NewSession(s.cli)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	if err := concurrency.NewElection(session, s.prefix+"theirs").Campaign(t.Context(), "them\xff"); err != nil {
		t.Fatal(err)
	}
	s.golden("elect",
		[]string{"elect", "get", s.prefix + "jobs", "-o", "table"},
		[]string{"elect", "get", s.prefix + "jobs", "-o", "json"},
		[]string{"elect", "get", s.prefix + "theirs", "-o", "json"},
		[]string{"elect", "ls", s.prefix},
		[]string{"elect", "ls", s.prefix, "-o", "jsonl"},
		[]string{"elect", "resign", s.prefix + "jobs"},
		[]string{"elect", "resign", s.prefix + "jobs", "--yes"},
		[]string{"elect", "resign", s.prefix + "theirs", "--yes"},
		[]string{"elect", "ls", s.prefix},
	)
	select {
	case <-term.Done():
	case <-time.After(time.Minute):
		t.Error("the leader is not told")
	}
}

func TestElectGetPrintsTheValueAsALine(t *testing.T) {
	s := newShell(t)
	e := election.New(s.cli, s.prefix+"jobs", nil)
	defer e.Close()
	const value = "a\nb\x00\xff"
	if _, err := e.Campaign(t.Context(), value); err != nil {
		t.Fatal(err)
	}
	if got, _, code := s.run("elect", "get", s.prefix+"jobs"); got != value+"\n" || code != 0 {
		t.Errorf("got %q, code %d, want %q and a newline", got, code, value)
	}
}

func TestElectWatchStreamsEachChange(t *testing.T) {
	s := newShell(t)
	ctx, signal := context.WithCancel(t.Context())
	defer signal()
	seen := newLines()
	code := make(chan int, 1)
	go func() { // waited for below
		code <- Run(ctx, []string{"elect", "watch", s.prefix + "jobs", "-o", "jsonl"}, strings.NewReader(""), seen, new(strings.Builder))
	}()
	next := func() (l struct {
		Vacant bool
		Value  string
		Token  int64
	}) {
		t.Helper()
		select {
		case line := <-seen.all:
			if err := json.Unmarshal([]byte(line), &l); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
		case <-time.After(time.Minute):
			t.Fatal("nothing is printed")
		}
		return l
	}
	if l := next(); !l.Vacant {
		t.Errorf("at first: %+v", l)
	}
	e := election.New(s.cli, s.prefix+"jobs", nil)
	defer e.Close()
	term, err := e.Campaign(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	if l := next(); l.Vacant || l.Value != "a" || l.Token != term.Token() {
		t.Errorf("with a leader: %+v", l)
	}
	if err := term.Proclaim(t.Context(), "b"); err != nil {
		t.Fatal(err)
	}
	if l := next(); l.Value != "b" || l.Token != term.Token() {
		t.Errorf("with another value: %+v", l)
	}
	if err := term.Resign(t.Context()); err != nil {
		t.Fatal(err)
	}
	if l := next(); !l.Vacant {
		t.Errorf("at last: %+v", l)
	}
	signal()
	if got := <-code; got != ExitInterrupted {
		t.Errorf("exit code %d, want %d", got, ExitInterrupted)
	}
}

// lines is a writer whose lines can be waited for.
type lines struct {
	rest string
	all  chan string
}

func newLines() *lines { return &lines{all: make(chan string, 100)} }

func (l *lines) Write(b []byte) (int, error) {
	l.rest += string(b)
	for {
		line, rest, ok := strings.Cut(l.rest, "\n")
		if !ok {
			return len(b), nil
		}
		l.all <- line
		l.rest = rest
	}
}

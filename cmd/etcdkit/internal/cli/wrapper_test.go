package cli

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/child"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/out"
	"github.com/etcdkit/etcdkit/election"
	"github.com/etcdkit/etcdkit/lock"
	"github.com/etcdkit/etcdkit/mirror"
)

// lockRunOf is a run whose command would make the file that it returns.
func lockRunOf(t *testing.T, s *shell, signals <-chan os.Signal) (r *lockRun, made string) {
	t.Helper()
	supervisor, err := child.Supervise(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(supervisor.Close)
	made = t.TempDir() + "/made"
	return &lockRun{
		a: &app{out: out.New(io.Discard, io.Discard)}, flags: &lockFlags{ttl: 10 * time.Second, every: time.Minute}, name: s.prefix + "job",
		cmd: exec.Command("touch", made), supervisor: supervisor, signals: signals,
	}, made
}

// wantExit checks an exit code, and that the command did not run.
func wantExit(t *testing.T, err error, code int, made string) {
	t.Helper()
	var exit exitError
	if !errors.As(err, &exit) || int(exit) != code {
		t.Errorf("got %v, want exit code %d", err, code)
	}
	if _, err := os.Stat(made); err == nil {
		t.Error("the command ran")
	}
}

func TestASignalInTheMomentInWhichTheLockIsAcquiredReleasesIt(t *testing.T) {
	s := newShell(t)
	signals := make(chan os.Signal, 1)
	r, made := lockRunOf(t, s, signals)
	waiting, stop := child.UntilSignal(t.Context(), signals)
	m := lock.New(s.cli, r.name, nil)
	defer m.Close()
	l := anyLock{Closer: m, wait: func(ctx context.Context, _ ...clientv3.Op) (*lock.Hold, error) {
		hold, err := m.Acquire(ctx)
		signals <- syscall.SIGTERM
		<-ctx.Done()
		return hold, err
	}}
	wantExit(t, r.once(t.Context(), waiting, stop, s.cli, l), 128+15, made)
	queueOf(t, s.cli, r.name, 0)
}

func TestASignalInTheMomentInWhichAPeriodIsDueReleasesTheLock(t *testing.T) {
	s := newShell(t)
	r, made := lockRunOf(t, s, nil)
	m := lock.New(s.cli, r.name, nil)
	defer m.Close()
	stop := func() error { return child.EndedBy(syscall.SIGTERM) }
	wantExit(t, r.everyPeriod(t.Context(), t.Context(), stop, s.cli, m), 128+15, made)
	queueOf(t, s.cli, r.name, 0)
}

func TestASignalInTheMomentOfTheElectionResigns(t *testing.T) {
	s := newShell(t)
	e := election.New(s.cli, s.prefix+"job", nil)
	defer e.Close()
	signals := make(chan os.Signal, 1)
	r := &electRun{a: &app{out: out.New(io.Discard, io.Discard)}, flags: new(lockFlags), name: s.prefix + "job"}
	term, again, err := r.campaign(t.Context(), func(ctx context.Context) (*election.Term, error) {
		term, err := e.Campaign(ctx, "me")
		signals <- syscall.SIGTERM
		<-ctx.Done()
		return term, err
	}, signals)
	var exit exitError
	if term != nil || again || !errors.As(err, &exit) || exit != 128+15 {
		t.Errorf("got %v, %t, %v, want exit code 143", term, again, err)
	}
	if q, err := election.Candidates(t.Context(), s.cli, s.prefix+"job", nil); err != nil || q.Count != 0 {
		t.Errorf("candidates: got %+v, %v, want none", q, err)
	}
}

// turning is a freshness that a test changes.
type turning struct {
	mu     sync.Mutex // guards what follows
	state  mirror.State
	turned chan struct{}
}

func newTurning() *turning {
	return &turning{state: mirror.State{Fresh: true}, turned: make(chan struct{})}
}

func (f *turning) State() mirror.State {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state
}

func (f *turning) FreshnessChanged() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.turned
}

func (f *turning) turn(fresh bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.state = mirror.State{Fresh: fresh, Cause: errors.New("no answer")}
	close(f.turned)
	f.turned = make(chan struct{})
}

func TestTheFreshnessOfAllPrefixesIsSaidAndEachChangeOnce(t *testing.T) {
	said := newLines()
	a := &app{out: out.New(io.Discard, said)}
	ctx, cancel := context.WithCancel(t.Context())
	one, two := newTurning(), newTurning()
	var talk sync.WaitGroup
	talk.Go(func() { a.sayFreshness(ctx, one, two) }) // ends with cancel
	next := func(want string) {
		t.Helper()
		select {
		case line := <-said.all:
			if !strings.Contains(line, want) {
				t.Errorf("said %q, want %q", line, want)
			}
		case <-time.After(time.Minute):
			t.Fatalf("nothing is said, want %q", want)
		}
	}
	two.turn(false)
	next("no news from etcd")
	one.turn(false)
	one.turn(true)
	two.turn(true)
	next("etcd is back")
	cancel()
	talk.Wait()
	if len(said.all) != 0 {
		t.Errorf("more is said: %q", <-said.all)
	}
}

func TestTheTextOfACheckIsNotPublished(t *testing.T) {
	o := &registering{checkCommand: []string{"pw=secret ./check", "./other"}, interval: time.Second}
	checks, err := o.checks()
	if err != nil || len(checks) != 2 || checks[0].Name != "cmd" || checks[1].Name != "cmd-2" {
		t.Errorf("got %+v, %v, want cmd and cmd-2", checks, err)
	}
}

func TestACommandThatExitsWith0WhenItIsEndedHasRun(t *testing.T) {
	if got, want := endedByLoss("lock", lock.ErrLost, lock.ErrLost, 0, child.ErrEnded).Error(), "lock: ownership lost; the command was ended (exit code 0)"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := endedByLoss("lock", nil, lock.ErrLost, 0, child.ErrNotStarted).Error(), "lock was about to be lost: etcd did not renew its lease in time; the command was not started"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestDevRunHasTheExitCodeOfAWrapper(t *testing.T) {
	var said bytes.Buffer
	if code := Run(t.Context(), []string{"dev", "run", "--members", "2", "--", "true"}, strings.NewReader(""), io.Discard, &said); code != ExitWrapper {
		t.Errorf("exit code %d, want %d: %s", code, ExitWrapper, said.String())
	}
}

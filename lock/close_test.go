package lock_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/lease"
	"github.com/etcdkit/etcdkit/lock"
)

// shared returns a Mutex whose lease goes on after its Close.
func shared(t *testing.T, cli *clientv3.Client, name string) *lock.Mutex {
	t.Helper()
	keeper := lease.NewKeeper(cli, nil)
	t.Cleanup(func() { keeper.Close() })
	m := lock.New(cli, name, &lock.Options{Keeper: keeper})
	t.Cleanup(func() { m.Close() })
	return m
}

func TestCloseEndsTheCallsThatWait(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	h := acquire(t, mutex(t, cli, prefix+"lock"))
	m := shared(t, cli, prefix+"lock")
	ended := make(chan error, 2)
	for range 2 { // one of them in etcd, the other one in this process
		go func() { // waited for below
			_, err := m.Acquire(bounded(t))
			ended <- err
		}()
	}
	for count(t, cli, prefix+"lock/") != 2 {
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := <-ended; !errors.Is(err, lock.ErrClosed) {
			t.Errorf("got %v, want ErrClosed", err)
		}
	}
	if n := count(t, cli, prefix+"lock/"); n != 1 {
		t.Errorf("%d entries after Close, want the holder's", n)
	}
	if _, err := m.Acquire(bounded(t)); !errors.Is(err, lock.ErrClosed) {
		t.Errorf("after Close: %v, want ErrClosed", err)
	}
	release(t, h)
}

func TestCloseWaitsForWhatIsBeingRemoved(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	h := acquire(t, mutex(t, cli, prefix+"lock"))
	for range 10 {
		m := shared(t, cli, prefix+"lock")
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { // waited for below
			defer close(ended)
			_, _ = m.Acquire(ctx)
		}()
		for count(t, cli, prefix+"lock/") != 2 {
		}
		go cancel() // at the same time
		m.Close()
		<-ended
		if n := count(t, cli, prefix+"lock/"); n != 1 {
			t.Fatalf("%d entries after Close, want the holder's", n)
		}
	}
	release(t, h)
}

func TestAcquireEndsWithItsContextWhileTheReleaseBeforeItIsUnderWay(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	gate, through := gated(t, cli)
	m := mutex(t, through, prefix+"lock")
	h := acquire(t, m)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { // waited for below
		_, err := m.Acquire(ctx)
		ended <- err
	}()
	<-time.After(100 * time.Millisecond) // it is most likely in line by now
	gate.SetTarget("")
	released := make(chan error, 1)
	go func() { released <- h.Release(bounded(t)) }() // waited for below
	<-time.After(100 * time.Millisecond)
	cancel()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want the cancellation", err)
		}
	case err := <-released:
		t.Errorf("it waits until the release has ended: %v", err)
	}
	gate.SetTarget(cli.Endpoints()[0])
	<-released
}

// A Commit is carried out, its answer is lost, and the client is closed before it can be looked for.
func TestACommitThatAClosedClientEndsIsUnknown(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	gate, through := gated(t, cli)
	h := acquire(t, mutex(t, through, prefix+"lock"))
	gate.DropAnswers()
	ended := make(chan error, 1)
	go func() { // waited for below
		_, err := h.Commit(bounded(t), clientv3.OpPut(prefix+"written", "1"))
		ended <- err
	}()
	for count(t, cli, prefix+"written") == 0 {
	}
	through.Close()
	if err := <-ended; !errors.Is(err, lock.ErrUnknown) || !errors.Is(err, lock.ErrClosed) {
		t.Errorf("it was written, and the error is %v, want ErrUnknown and ErrClosed", err)
	}
}

// callingLog is a log handler that uses what it logs of.
type callingLog struct {
	slog.Handler
	call func()
}

func (c callingLog) Handle(context.Context, slog.Record) error { c.call(); return nil }

func TestALogMayUseTheMutexWhoseLossItIsTold(t *testing.T) {
	shared, prefix := etcdtest.New(t)
	cli := another(t, shared)
	var m *lock.Mutex
	log := slog.New(callingLog{slog.NewTextHandler(io.Discard, nil), func() {
		if _, err := m.TryAcquire(t.Context()); !errors.Is(err, lock.ErrClosed) {
			t.Errorf("TryAcquire: %v, want ErrClosed", err)
		}
		if _, err := m.Acquire(t.Context()); !errors.Is(err, lock.ErrClosed) {
			t.Errorf("Acquire: %v, want ErrClosed", err)
		}
		m.Close()
	}})
	m = withOptions(t, cli, prefix+"lock", lock.Options{Linger: time.Minute, Logger: log})
	h := acquire(t, m)
	cli.Close()
	released := make(chan error, 1)
	go func() { released <- h.Release(bounded(t)) }() // waited for below
	select {
	case err := <-released:
		if !errors.Is(err, lock.ErrLost) {
			t.Errorf("got %v, want ErrLost", err)
		}
	case <-time.After(within):
		t.Fatal("the release waits for its log, and the log for the release")
	}
}

func TestAHoldThatCloseEndedIsLostAndSaysSo(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	for what, open := range map[string]func(testing.TB, *clientv3.Client, string) *lock.Mutex{
		"own keeper": mutex, "shared keeper": func(_ testing.TB, cli *clientv3.Client, name string) *lock.Mutex { return shared(t, cli, name) },
	} {
		m := open(t, cli, prefix+what)
		released := acquire(t, m)
		m.Close()
		if err := released.Release(bounded(t)); !errors.Is(err, lock.ErrLost) {
			t.Errorf("%s: Release: %v, want ErrLost", what, err)
		}
		m = open(t, cli, prefix+what)
		committed := acquire(t, m)
		m.Close()
		if _, err := committed.Commit(bounded(t), clientv3.OpPut(prefix+"written", "1")); !errors.Is(err, lock.ErrLost) || errors.Is(err, lock.ErrReleased) {
			t.Errorf("%s: Commit: %v, want ErrLost", what, err)
		}
	}
	if n := count(t, cli, prefix+"written"); n != 0 {
		t.Error("it was written under a lost hold")
	}
}

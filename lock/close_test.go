package lock_test

import (
	"context"
	"errors"
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

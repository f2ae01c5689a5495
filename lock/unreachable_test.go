package lock_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/internal/means"
	"github.com/etcdkit/etcdkit/lease"
	"github.com/etcdkit/etcdkit/lock"
)

// No member answers.
func TestAcquireEndsWithItsContextAndNamesTheEndpoints(t *testing.T) {
	t.Parallel()
	c := etcdtest.NewCluster(t, nil)
	cli := etcdtest.Client(t, c)
	var mutexes []*lock.Mutex
	for i := range 3 {
		m := mutex(t, cli, fmt.Sprint("lock", i))
		release(t, acquire(t, m)) // it has a lease
		mutexes = append(mutexes, m)
	}
	for _, name := range c.Names() {
		if _, err := c.Blackhole(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	const patience = 700 * time.Millisecond
	var calls sync.WaitGroup
	late := make([]time.Duration, len(mutexes)) // One in time is enough: the machine has other work.
	for i, m := range mutexes {                 // At once, as the outage is not known yet: each asks.
		calls.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			began := time.Now()
			h, err := m.Acquire(ctx)
			late[i] = time.Since(began) - patience
			t.Logf("%v after its deadline: %v", late[i], err)
			if h != nil || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v, %v, want the deadline", h, err)
				return
			}
			for _, want := range append(c.Endpoints(), "no answer") {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %q, want %q in it", err, want)
				}
			}
		})
	}
	calls.Wait()
	if least := slices.Min(late); least > 100*time.Millisecond && !means.Race {
		t.Errorf("returned %v after its deadline, want 100 ms", least)
	}
}

// No member answers a holder and a waiter: both are told before etcd can give the lock to another client.
func TestAHolderThatIsCutOffKnowsItBeforeTheLeaseEnds(t *testing.T) {
	t.Parallel()
	c := etcdtest.NewCluster(t, nil)
	waits := make(chan struct{})
	cli, err := clientv3.New(clientv3.Config{
		Endpoints: c.Endpoints(), Logger: zap.NewNop(),
		DialOptions: []grpc.DialOption{onWatch(sync.OnceFunc(func() { close(waits) }))},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer cli.Close()
	keeper := lease.NewKeeper(cli, &lease.Options{TTL: workerTTL})
	defer keeper.Close()
	holder, waiter := lock.New(cli, "lock", &lock.Options{Keeper: keeper}), lock.New(cli, "lock", &lock.Options{Keeper: keeper})
	defer holder.Close()
	defer waiter.Close()
	h := acquire(t, holder)
	waited := make(chan error, 1)
	go func() { // waited for below
		_, err := waiter.Acquire(bounded(t))
		waited <- err
	}()
	<-waits
	for _, name := range c.Names() {
		if _, err := c.Blackhole(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	cut := time.Now()
	for _, told := range []struct {
		who string
		how func() error
	}{
		{"the waiter", func() error { return <-waited }},
		{"the holder", func() error { <-h.Done(); return h.Err() }},
	} {
		if err := told.how(); !errors.Is(err, lock.ErrLost) {
			t.Errorf("%s: got %v, want ErrLost", told.who, err)
		}
		if took := time.Since(cut); took > workerTTL {
			t.Errorf("%s was told after %v, want less than the TTL of %v", told.who, took, workerTTL)
		}
	}
}

// The member that all watches of the client are with stands still.
func TestAWaiterHasItsTurnWhenItsMemberStandsStill(t *testing.T) {
	t.Parallel()
	c := etcdtest.NewCluster(t, nil)
	cli := etcdtest.Client(t, c)
	first := <-cli.Watch(clientv3.WithRequireLeader(t.Context()), "any", clientv3.WithCreatedNotify())
	var member string
	var others []string
	for i, endpoint := range c.Endpoints() {
		s, err := cli.Status(t.Context(), endpoint)
		if err != nil {
			t.Fatal(err)
		}
		if s.Header.MemberId == first.Header.MemberId {
			member = c.Names()[i]
		} else {
			others = append(others, endpoint)
		}
	}
	m := mutex(t, cli, "lock")
	release(t, acquire(t, m)) // it has its lease
	if _, err := c.Pause(t.Context(), member); err != nil {
		t.Fatal(err)
	}
	elsewhere, err := clientv3.New(clientv3.Config{Endpoints: others, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer elsewhere.Close()
	h := acquire(t, mutex(t, elsewhere, "lock"))
	held := make(chan *lock.Hold, 1)
	go func() { // waited for below
		h, err := m.Acquire(bounded(t))
		if err != nil {
			t.Error(err)
		}
		held <- h
	}()
	for count(t, elsewhere, "lock/") != 2 {
	}
	release(t, h)
	began := time.Now()
	got := <-held
	t.Logf("held %v after the release", time.Since(began))
	if got != nil {
		release(t, got) // before the member goes on, which may have led, and then ends leases that are not its own any more
	}
	if _, err := c.Resume(t.Context(), member); err != nil {
		t.Fatal(err)
	}
}

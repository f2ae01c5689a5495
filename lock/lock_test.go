package lock_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	"go.uber.org/goleak"

	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/internal/means"
	"github.com/etcdkit/etcdkit/lease"
	"github.com/etcdkit/etcdkit/lock"
)

func TestMain(m *testing.M) {
	if job := os.Getenv(workerEnv); job != "" {
		os.Exit(work(job))
	}
	if job := os.Getenv(runnerEnv); job != "" {
		os.Exit(runEvery(job))
	}
	means.TestsAtATime(8)
	goleak.VerifyTestMain(etcdtest.Main(m))
}

const (
	// within bounds what a test waits for, on a machine that does much else.
	within = 60 * time.Second
	// tidying is how much earlier a wait ends than the time for all tests: then the one that waits fails, and
	// says for what, and has time to tidy up.
	tidying = 3 * time.Second
)

func bounded(t testing.TB) context.Context {
	t.Helper()
	end := time.Now().Add(within)
	if all, ok := t.(interface{ Deadline() (time.Time, bool) }); ok {
		if last, ok := all.Deadline(); ok && last.Add(-tidying).Before(end) {
			end = last.Add(-tidying)
		}
	}
	ctx, cancel := context.WithDeadline(t.Context(), end)
	t.Cleanup(cancel)
	return ctx
}

func mutex(t testing.TB, cli *clientv3.Client, name string) *lock.Mutex {
	t.Helper()
	m := lock.New(cli, name, &lock.Options{TTL: 5 * time.Second})
	t.Cleanup(func() { m.Close() })
	return m
}

func acquire(t testing.TB, m *lock.Mutex, reads ...clientv3.Op) *lock.Hold {
	t.Helper()
	h, err := m.Acquire(bounded(t), reads...)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func release(t testing.TB, h *lock.Hold) {
	t.Helper()
	if err := h.Release(bounded(t)); err != nil {
		t.Fatal(err)
	}
}

func count(t testing.TB, cli *clientv3.Client, prefix string) int64 {
	t.Helper()
	resp, err := cli.Get(bounded(t), prefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		t.Fatal(err)
	}
	return resp.Count
}

// On one lease their keys look alike.
func TestMutexesOnOneKeeperExcludeOneAnother(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	keeper := lease.NewKeeper(cli, nil)
	defer keeper.Close()
	var working sync.WaitGroup
	var holders atomic.Int32
	for range 3 {
		m := lock.New(cli, prefix+"lock", &lock.Options{Keeper: keeper})
		defer m.Close()
		working.Go(func() {
			for range 30 {
				h, err := m.Acquire(bounded(t))
				if err != nil {
					t.Error(err)
					return
				}
				if n := holders.Add(1); n != 1 {
					t.Errorf("%d hold it at once", n)
				}
				holders.Add(-1)
				if err := h.Release(bounded(t)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	working.Wait()
	if n := count(t, cli, prefix+"lock/"); n != 0 {
		t.Errorf("%d entries are left in the queue", n)
	}
}

// Faults 6 and 7.
func TestAllKindsOfLocksOfANameExcludeOneAnother(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	name := prefix + "lock"
	session, err := concurrency.NewSession(cli, concurrency.WithTTL(5))
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	ours, other := mutex(t, cli, name), mutex(t, cli, name)
	var held struct {
		sync.Mutex
		now, most int
	}
	enter := func() {
		held.Lock()
		defer held.Unlock()
		held.now++
		held.most = max(held.most, held.now)
	}
	leave := func() {
		held.Lock()
		defer held.Unlock()
		held.now--
	}
	ctx := bounded(t)
	var working sync.WaitGroup
	for _, m := range []*lock.Mutex{ours, ours, other} {
		working.Go(func() {
			for range 15 {
				h, err := m.Acquire(ctx)
				if err != nil {
					t.Error(err)
					return
				}
				enter()
				leave()
				if err := h.Release(ctx); err != nil {
					t.Error(err)
				}
			}
		})
	}
	working.Go(func() {
		theirs := concurrency.NewMutex(session, name)
		for range 15 {
			if err := theirs.Lock(ctx); err != nil {
				t.Error(err)
				return
			}
			enter()
			leave()
			if err := theirs.Unlock(ctx); err != nil {
				t.Error(err)
			}
		}
	})
	working.Wait()
	if held.most != 1 {
		t.Errorf("%d held it at the same time", held.most)
	}
}

func TestWaitersGetItInTheOrderInWhichTheyCame(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	name := prefix + "lock"
	first := acquire(t, mutex(t, cli, name))
	const n = 8 // more than listen to all deletions
	order := make(chan int, n)
	ctx := bounded(t)
	var working sync.WaitGroup
	for i := range n {
		m := mutex(t, cli, name)
		working.Go(func() {
			h, err := m.Acquire(ctx)
			if err != nil {
				t.Error(err)
				return
			}
			order <- i
			if err := h.Release(ctx); err != nil {
				t.Error(err)
			}
		})
		for count(t, cli, name+"/") != int64(i+2) {
		}
	}
	release(t, first)
	working.Wait()
	for want := range n {
		if got := <-order; got != want {
			t.Errorf("waiter %d came to its turn as number %d", got, want)
		}
	}
}

func TestTryAcquireWritesNothingWhereItIsTaken(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	a, b := mutex(t, cli, prefix+"lock"), mutex(t, cli, prefix+"lock")
	h, err := a.TryAcquire(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.TryAcquire(bounded(t)); !errors.Is(err, lock.ErrTaken) { // and b has its lease now
		t.Errorf("got %v, want ErrTaken", err)
	}
	before, err := cli.Get(bounded(t), "nothing")
	if err != nil {
		t.Fatal(err)
	}
	for what, m := range map[string]*lock.Mutex{"the same Mutex": a, "another": b} {
		_, err := m.TryAcquire(bounded(t))
		if !errors.Is(err, lock.ErrTaken) || !strings.Contains(err.Error(), "pid ") {
			t.Errorf("%s: got %v, want ErrTaken with its owner", what, err)
		}
	}
	after, err := cli.Get(bounded(t), "nothing")
	if err != nil || after.Header.Revision != before.Header.Revision {
		t.Errorf("revision %v, %v, want %d as before", after, err, before.Header.Revision)
	}
	release(t, h)
	if h, err = b.TryAcquire(bounded(t)); err != nil {
		t.Fatal(err)
	}
	release(t, h)
}

func TestAHoldThatLastsRecordsSinceWhen(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	m := mutex(t, cli, prefix+"lock")
	h := acquire(t, m)
	began := time.Now()
	var record struct{ Since, Acquired, Nonce string }
	for ctx := bounded(t); record.Acquired == ""; {
		resp, err := cli.Get(ctx, h.Key())
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(resp.Kvs[0].Value, &record); err != nil {
			t.Fatalf("%s: %v", resp.Kvs[0].Value, err)
		}
		if kv := resp.Kvs[0]; kv.CreateRevision != h.Token() || kv.Lease == 0 {
			t.Fatalf("the hold has become another one: %v", kv)
		}
	}
	if at, err := time.Parse(time.RFC3339, record.Acquired); err != nil || began.Sub(at) > time.Minute || record.Nonce == "" || record.Since == "" {
		t.Errorf("got %+v, %v, want since when it is held, and what was there before", record, err)
	}
	if _, err := mutex(t, cli, prefix+"lock").TryAcquire(bounded(t)); !errors.Is(err, lock.ErrTaken) || !strings.Contains(err.Error(), record.Acquired) {
		t.Errorf("got %v, want ErrTaken since %s", err, record.Acquired)
	}
	release(t, h)
}

func TestTokensIncreaseAndAReleasedHoldWritesNothing(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	m := mutex(t, cli, prefix+"lock")
	old := acquire(t, m)
	release(t, old)
	release(t, old) // a no-op
	h := acquire(t, m)
	if h.Token() <= old.Token() {
		t.Errorf("token %d after %d", h.Token(), old.Token())
	}
	if resp, err := old.Txn(bounded(t)).Then(clientv3.OpPut(prefix+"x", "old")).Commit(); err != nil || resp.Succeeded {
		t.Errorf("a write of the hold before: %v, %v, want it refused", resp, err)
	}
	if _, err := old.Commit(bounded(t), clientv3.OpPut(prefix+"x", "old")); !errors.Is(err, lock.ErrReleased) {
		t.Errorf("commit after release: %v", err)
	}
	if resp, err := h.Txn(bounded(t)).Then(clientv3.OpPut(prefix+"x", "new")).Commit(); err != nil || !resp.Succeeded {
		t.Errorf("a write of the holder: %v, %v", resp, err)
	}
	release(t, h)
	if err := h.Err(); !errors.Is(err, lock.ErrReleased) {
		t.Errorf("Err after Release: %v", err)
	}
}

func TestACancelledWaiterLeavesNothing(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	a, b := mutex(t, cli, prefix+"lock"), mutex(t, cli, prefix+"lock")
	h := acquire(t, a)
	stop := errors.New("enough")
	for name, m := range map[string]*lock.Mutex{"in this process": a, "in etcd": b} {
		ctx, cancel := context.WithCancelCause(t.Context())
		waited := make(chan error, 1)
		go func() { // waited for below
			_, err := m.Acquire(ctx)
			waited <- err
		}()
		if m == b {
			for count(t, cli, prefix+"lock/") != 2 {
			}
		}
		cancel(stop)
		if err := <-waited; !errors.Is(err, stop) {
			t.Errorf("%s: got %v, want the cause", name, err)
		}
	}
	for ctx := bounded(t); count(t, cli, prefix+"lock/") != 1; {
		if ctx.Err() != nil {
			t.Fatal("the entry of a waiter who left stays")
		}
	}
	release(t, h)
	release(t, acquire(t, b))
}

func TestBadNamesAndReadsAreRefusedBeforeAnythingIsSent(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	for _, name := range []string{"", "a/", "a\x00", strings.Repeat("x", 1001)} {
		m := mutex(t, cli, name)
		_, acquire := m.Acquire(bounded(t))
		_, try := m.TryAcquire(bounded(t))
		if !errors.Is(acquire, lock.ErrInvalid) || !errors.Is(try, lock.ErrInvalid) {
			t.Errorf("%.10q: got %v and %v, want ErrInvalid", name, acquire, try)
		}
	}
	if _, err := mutex(t, cli, prefix+"lock").Acquire(bounded(t), clientv3.OpPut("x", "1")); !errors.Is(err, lock.ErrInvalid) {
		t.Errorf("a Put with an Acquire: got %v, want ErrInvalid", err)
	}
}

func TestAKeeperAndATTLAreInvalidTogether(t *testing.T) {
	cli, name := etcdtest.New(t)
	k := lease.NewKeeper(cli, nil)
	t.Cleanup(func() { k.Close() })
	both := &lock.SharedOptions{Keeper: k, TTL: 5 * time.Second}
	for what, try := range map[string]func(context.Context) (*lock.Hold, error){
		"Mutex":     lock.New(cli, name, &lock.Options{Keeper: k, TTL: 5 * time.Second}).TryAcquire,
		"RWMutex":   lock.NewRW(cli, name, both).TryAcquire,
		"Semaphore": lock.NewSemaphore(cli, name, 2, both).TryAcquire,
	} {
		if h, err := try(bounded(t)); h != nil || !errors.Is(err, lock.ErrInvalid) {
			t.Errorf("%s: got %v, %v, want ErrInvalid", what, h, err)
		}
	}
}

package lock_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"

	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/lock"
)

func rwmutex(t testing.TB, cli *clientv3.Client, name string) *lock.RWMutex {
	t.Helper()
	m := lock.NewRW(cli, name, &lock.SharedOptions{TTL: 5 * time.Second})
	t.Cleanup(func() { m.Close() })
	return m
}

func semaphore(t testing.TB, cli *clientv3.Client, name string, size int) *lock.Semaphore {
	t.Helper()
	s := lock.NewSemaphore(cli, name, size, &lock.SharedOptions{TTL: 5 * time.Second})
	t.Cleanup(func() { s.Close() })
	return s
}

// must returns the hold, or ends the test.
func must(t testing.TB) func(*lock.Hold, error) *lock.Hold {
	return func(h *lock.Hold, err error) *lock.Hold {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
}

// waiter acquires in the background, and says when.
type waiter struct {
	held chan *lock.Hold
	err  chan error
	stop context.CancelFunc
}

// queued starts an acquire and returns when its entry is the queue's n-th.
func queued(t testing.TB, cli *clientv3.Client, name string, n int64, acquire func(context.Context) (*lock.Hold, error)) *waiter {
	t.Helper()
	ctx, stop := context.WithCancel(bounded(t))
	w := &waiter{make(chan *lock.Hold, 1), make(chan error, 1), stop}
	go func() { // ends with ctx
		h, err := acquire(ctx)
		if err != nil {
			w.err <- err
			return
		}
		w.held <- h
	}()
	for count(t, cli, name+"/") != n {
		select {
		case err := <-w.err:
			t.Fatal(err)
		case <-ctx.Done():
			t.Fatalf("%d entries, want %d", count(t, cli, name+"/"), n)
		case <-time.After(time.Millisecond):
		}
	}
	return w
}

// gets waits until it is held.
func (w *waiter) gets(t testing.TB) *lock.Hold {
	t.Helper()
	select {
	case h := <-w.held:
		return h
	case err := <-w.err:
		t.Fatal(err)
	case <-bounded(t).Done():
		t.Fatal("it is not held")
	}
	return nil
}

// fails waits until the acquire fails.
func (w *waiter) fails(t testing.TB) error {
	t.Helper()
	select {
	case h := <-w.held:
		t.Fatalf("%s is held, want it to fail", h.Key())
	case err := <-w.err:
		return err
	case <-bounded(t).Done():
		t.Fatal("it waits")
	}
	return nil
}

// soon is gets within a limit.
func (w *waiter) soon(t testing.TB, limit time.Duration) *lock.Hold {
	t.Helper()
	select {
	case h := <-w.held:
		return h
	case err := <-w.err:
		t.Fatal(err)
	case <-time.After(limit):
		t.Fatalf("it is not held within %v", limit)
	}
	return nil
}

// waits tells that it is not held. That something does not happen can only be seen by waiting.
func (w *waiter) waits(t testing.TB) {
	t.Helper()
	select {
	case h := <-w.held:
		t.Fatalf("%s is held, want it to wait", h.Key())
	case err := <-w.err:
		t.Fatal(err)
	case <-time.After(50 * time.Millisecond):
	}
}

func read(m *lock.RWMutex) func(context.Context) (*lock.Hold, error) {
	return func(ctx context.Context) (*lock.Hold, error) { return m.AcquireRead(ctx) }
}

func write(m *lock.RWMutex) func(context.Context) (*lock.Hold, error) {
	return func(ctx context.Context) (*lock.Hold, error) { return m.Acquire(ctx) }
}

func TestReadersShareAndAWriterIsNotStarved(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	name := prefix + "lock"
	m, other := rwmutex(t, cli, name), rwmutex(t, cli, name)
	one, two := must(t)(m.AcquireRead(bounded(t))), must(t)(other.AcquireRead(bounded(t)))
	w := queued(t, cli, name, 3, write(m))
	w.waits(t)
	late := queued(t, cli, name, 4, read(other)) // comes after a writer
	late.waits(t)
	release(t, one)
	w.waits(t)
	release(t, two)
	writer := w.gets(t)
	late.waits(t)
	second := queued(t, cli, name, 3, read(m))
	if writer.Token() <= two.Token() {
		t.Errorf("tokens %d, then %d, want them to increase", two.Token(), writer.Token())
	}
	release(t, writer)
	a, b := late.gets(t), second.gets(t) // together
	release(t, a)
	release(t, b)
}

func TestAReaderCostsNoMoreThanItsOwnEntry(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	m := rwmutex(t, cli, prefix+"lock")
	release(t, must(t)(m.AcquireRead(bounded(t)))) // has the lease made
	before, err := cli.Get(bounded(t), "none")
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		must(t)(m.AcquireRead(bounded(t)))
	}
	after, err := cli.Get(bounded(t), "none")
	if err != nil {
		t.Fatal(err)
	}
	if n := after.Header.Revision - before.Header.Revision; n != 10 {
		t.Errorf("10 readers took %d revisions, want 10", n)
	}
}

func TestManyReadersAreWaitedForByOneWriter(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	name := prefix + "lock"
	m := rwmutex(t, cli, name)
	var readers []*lock.Hold
	for range 20 {
		readers = append(readers, must(t)(m.AcquireRead(bounded(t))))
	}
	w := queued(t, cli, name, 21, write(m))
	slices.Reverse(readers) // the newest first: those are what an entry reads of the ones ahead
	older := readers[5:]
	rand.Shuffle(len(older), func(i, j int) { older[i], older[j] = older[j], older[i] })
	for _, h := range readers {
		w.waits(t)
		release(t, h)
	}
	release(t, w.gets(t))
}

func TestMutexesAreWritersOnTheSameName(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	name := prefix + "lock"
	m, plain := rwmutex(t, cli, name), mutex(t, cli, name)
	s, err := concurrency.NewSession(cli)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	theirs := concurrency.NewMutex(s, name)
	reader := must(t)(m.AcquireRead(bounded(t)))
	w := queued(t, cli, name, 2, func(ctx context.Context) (*lock.Hold, error) { return plain.Acquire(ctx) })
	locked := make(chan error, 1)
	go func() { locked <- theirs.Lock(bounded(t)) }()
	for ctx := bounded(t); count(t, cli, name+"/") != 3; {
		if ctx.Err() != nil {
			t.Fatal("clientv3's Mutex does not come")
		}
	}
	late := queued(t, cli, name, 4, read(m))
	w.waits(t)
	release(t, reader)
	release(t, w.gets(t))
	if err := <-locked; err != nil {
		t.Fatal(err)
	}
	late.waits(t)
	if err := theirs.Unlock(bounded(t)); err != nil {
		t.Fatal(err)
	}
	release(t, late.gets(t))
}

func TestTryingToReadOrWriteWritesNothingWhenItIsTaken(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	name := prefix + "lock"
	m := rwmutex(t, cli, name)
	one := must(t)(m.TryAcquireRead(bounded(t)))
	two := must(t)(m.TryAcquireRead(bounded(t)))
	before, err := cli.Get(bounded(t), name+"/", clientv3.WithPrefix())
	if err != nil || before.Count != 2 {
		t.Fatalf("%v, %v", before, err)
	}
	if h, err := m.TryAcquire(bounded(t)); h != nil || !errors.Is(err, lock.ErrTaken) || !strings.Contains(err.Error(), "pid") {
		t.Errorf("write while two read: %v, %v, want ErrTaken and the holder", h, err)
	}
	after, err := cli.Get(bounded(t), name+"/", clientv3.WithPrefix())
	if err != nil || after.Header.Revision != before.Header.Revision {
		t.Errorf("revision %d, then %d: want nothing written", before.Header.Revision, after.Header.Revision)
	}
	release(t, one)
	release(t, two)
	writer := must(t)(m.TryAcquire(bounded(t)))
	if h, err := m.TryAcquireRead(bounded(t)); h != nil || !errors.Is(err, lock.ErrTaken) {
		t.Errorf("read while one writes: %v, %v, want ErrTaken", h, err)
	}
	release(t, writer)
}

func TestAnUpgradeIsRefusedAndDoesNotHang(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	m, other := rwmutex(t, cli, prefix+"lock"), rwmutex(t, cli, prefix+"other")
	err := m.DoRead(bounded(t), func(ctx context.Context, h *lock.Hold) error {
		if _, err := m.Acquire(ctx); !errors.Is(err, lock.ErrUpgrade) {
			t.Errorf("got %v, want ErrUpgrade", err)
		}
		return other.Do(ctx, func(context.Context, *lock.Hold) error { return nil }) // is another lock
	})
	if err != nil {
		t.Error(err)
	}
}

// A model in this process: etcd must never let a reader and a writer hold at once.
func TestReadersAndWritersOfManyClientsExcludeOneAnother(t *testing.T) {
	shared, prefix := etcdtest.New(t)
	var readers, writers atomic.Int32
	var working sync.WaitGroup
	for n := range 8 {
		m := rwmutex(t, shared, prefix+"lock")
		working.Go(func() {
			for range 40 {
				if rand.IntN(4) == 0 {
					h := must(t)(m.Acquire(bounded(t)))
					if w, r := writers.Add(1), readers.Load(); w != 1 || r != 0 {
						t.Errorf("client %d writes with %d writers and %d readers", n, w, r)
					}
					writers.Add(-1)
					release(t, h)
					continue
				}
				h := must(t)(m.AcquireRead(bounded(t)))
				readers.Add(1)
				if w := writers.Load(); w != 0 {
					t.Errorf("client %d reads with %d writers", n, w)
				}
				readers.Add(-1)
				release(t, h)
			}
		})
	}
	working.Wait()
	if n := count(t, shared, prefix+"lock/"); n != 0 {
		t.Errorf("%d entries are left", n)
	}
}

func TestAWaiterThatGivesUpLeavesTheOthersTheirTurn(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	for kind, acquire := range map[string][2]func(context.Context) (*lock.Hold, error){
		"rw": {write(rwmutex(t, cli, prefix+"rw")), read(rwmutex(t, cli, prefix+"rw"))},
		"sem": {func(ctx context.Context) (*lock.Hold, error) {
			return semaphore(t, cli, prefix+"sem", 2).AcquireN(ctx, 2)
		}, func(ctx context.Context) (*lock.Hold, error) { return semaphore(t, cli, prefix+"sem", 2).Acquire(ctx) }},
	} {
		name := prefix + kind
		first := must(t)(acquire[1](bounded(t)))
		w := queued(t, cli, name, 2, acquire[0])
		behind := queued(t, cli, name, 3, acquire[1])
		behind.waits(t)
		w.stop()
		if err := <-w.err; !errors.Is(err, context.Canceled) {
			t.Errorf("%s: got %v, want the cancellation", kind, err)
		}
		release(t, behind.gets(t)) // beside first
		release(t, first)
	}
}

// The kinds whose calls wait in etcd by themselves.
func TestAWaiterWhoseLeaseIsRevokedIsLost(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	sem := semaphore(t, cli, prefix+"sem", 1)
	for kind, acquire := range map[string][2]func(context.Context) (*lock.Hold, error){
		"rw":  {write(rwmutex(t, cli, prefix+"rw")), read(rwmutex(t, cli, prefix+"rw"))},
		"sem": {func(ctx context.Context) (*lock.Hold, error) { return semaphore(t, cli, prefix+"sem", 1).Acquire(ctx) }, func(ctx context.Context) (*lock.Hold, error) { return sem.Acquire(ctx) }},
	} {
		name := prefix + kind
		first := must(t)(acquire[0](bounded(t)))
		w := queued(t, cli, name, 2, acquire[1])
		resp, err := cli.Get(bounded(t), name+"/", clientv3.WithLastCreate()...)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := cli.Revoke(bounded(t), clientv3.LeaseID(resp.Kvs[0].Lease)); err != nil {
			t.Fatal(err)
		}
		select {
		case h := <-w.held:
			t.Errorf("%s: held with token %d after its lease was revoked", kind, h.Token())
		case err := <-w.err:
			if !errors.Is(err, lock.ErrLost) {
				t.Errorf("%s: got %v, want ErrLost", kind, err)
			}
		case <-bounded(t).Done():
			t.Errorf("%s: it waits on", kind)
		}
		release(t, first)
	}
}

func TestAThousandRoundsLeaveNothingBehind(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	before, err := cli.Leases(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	for n := range 1000 {
		var h *lock.Hold
		var err error
		var closer interface{ Close() error }
		switch name := prefix + string(rune('a'+n%7)); n % 3 {
		case 0:
			m := lock.New(cli, name+"mutex", &lock.Options{Linger: time.Hour, Local: lock.Local{For: time.Hour}})
			h, err = m.Acquire(bounded(t))
			closer = m
		case 1:
			m := lock.NewRW(cli, name+"rw", nil)
			h, err = m.AcquireRead(bounded(t))
			closer = m
		case 2:
			s := lock.NewSemaphore(cli, name+"sem", 3, nil)
			h, err = s.AcquireN(bounded(t), 2)
			closer = s
		}
		if err != nil {
			t.Fatal(err)
		}
		if n%2 == 0 {
			release(t, h)
		}
		if err := closer.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if n := count(t, cli, prefix); n != 0 {
		t.Errorf("%d keys are left", n)
	}
	after, err := cli.Leases(bounded(t))
	if err != nil || len(after.Leases) > len(before.Leases) {
		t.Errorf("%d leases, before %d, %v", len(after.Leases), len(before.Leases), err)
	}
}

// One stays for as long as it likes, and no later entry waits for that.

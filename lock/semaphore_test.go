package lock_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/lock"
)

func TestASemaphoreLetsSoManyIn(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	name := prefix + "sem"
	s, other := semaphore(t, cli, name, 3), semaphore(t, cli, name, 3)
	one := must(t)(s.Acquire(bounded(t)))
	two := must(t)(other.AcquireN(bounded(t), 2))
	big := queued(t, cli, name, 3, func(ctx context.Context) (*lock.Hold, error) { return s.AcquireN(ctx, 3) })
	small := queued(t, cli, name, 4, func(ctx context.Context) (*lock.Hold, error) { return other.Acquire(ctx) })
	if h, err := s.TryAcquire(bounded(t)); h != nil || !errors.Is(err, lock.ErrTaken) || !strings.Contains(err.Error(), "pid") {
		t.Errorf("try: %v, %v, want ErrTaken and the holder", h, err)
	}
	release(t, one)
	big.waits(t)
	small.waits(t) // though there would be room: it is not its turn
	release(t, two)
	all := big.gets(t)
	small.waits(t)
	release(t, all)
	release(t, small.gets(t))
	release(t, must(t)(s.TryAcquireN(bounded(t), 3)))
	if n := count(t, cli, name+"/"); n != 0 {
		t.Errorf("%d entries are left", n)
	}
}

func TestSizesThatCannotBeAreRefused(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	name := prefix + "sem"
	for _, size := range []int{0, -1, 10_001} {
		if h, err := semaphore(t, cli, name, size).Acquire(bounded(t)); h != nil || !errors.Is(err, lock.ErrInvalid) {
			t.Errorf("size %d: %v, %v, want ErrInvalid", size, h, err)
		}
	}
	for _, n := range []int{0, -1, 4} {
		if h, err := semaphore(t, cli, name, 3).AcquireN(bounded(t), n); h != nil || !errors.Is(err, lock.ErrInvalid) {
			t.Errorf("%d of 3: %v, %v, want ErrInvalid", n, h, err)
		}
	}
}

// The smallest size among the holders and the waiters counts.
func TestASizeIsChangedByCallsWithAnotherSize(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	for what, sizes := range map[string]struct{ old, now int }{"larger": {2, 4}, "smaller": {4, 2}} {
		t.Run(what, func(t *testing.T) {
			name := prefix + what
			old, now := semaphore(t, cli, name, sizes.old), semaphore(t, another(t, cli), name, sizes.now)
			var before []*lock.Hold
			for range sizes.old {
				before = append(before, must(t)(old.Acquire(bounded(t))))
			}
			if h, err := now.TryAcquire(bounded(t)); h != nil || !errors.Is(err, lock.ErrTaken) {
				t.Fatalf("the new one tries beside %d old ones: %v, %v, want ErrTaken", sizes.old, h, err)
			}
			smaller := min(sizes.old, sizes.now)
			var waiting []*waiter
			for n := range sizes.now {
				waiting = append(waiting, queued(t, cli, name, int64(sizes.old+n+1), func(ctx context.Context) (*lock.Hold, error) { return now.Acquire(ctx) }))
			}
			for len(before) > 0 {
				for _, w := range waiting[max(0, min(smaller-len(before), len(waiting))):] {
					w.waits(t)
				}
				release(t, before[0])
				before = before[1:]
			}
			for _, w := range waiting { // as many as its size, all at once
				w := w.gets(t)
				defer release(t, w)
			}
			if h, err := old.TryAcquire(bounded(t)); h != nil || !errors.Is(err, lock.ErrTaken) {
				t.Errorf("the old one tries beside %d new ones: %v, %v, want ErrTaken", sizes.now, h, err)
			}
		})
	}
}

// It asks for more than others allow: it waits until they are gone, and not for ever.
func TestACallThatTakesMoreThanASmallerSizeWaitsForThoseAhead(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	name := prefix + "sem"
	small := must(t)(semaphore(t, cli, name, 2).Acquire(bounded(t)))
	s := semaphore(t, cli, name, 10)
	w := queued(t, cli, name, 2, func(ctx context.Context) (*lock.Hold, error) { return s.AcquireN(ctx, 8) })
	w.waits(t)
	release(t, small)
	release(t, w.gets(t))
}

// A client that keeps trying with a wrong size keeps none of the right size from getting in.
func TestAWrongSizeBlocksNoOtherCall(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	name := prefix + "sem"
	right := semaphore(t, cli, name, 10)
	stays := must(t)(right.Acquire(bounded(t)))
	wrong := semaphore(t, another(t, cli), name, 5)
	trying, stop := context.WithCancel(t.Context())
	var others sync.WaitGroup
	others.Go(func() {
		for trying.Err() == nil {
			if h, err := wrong.Acquire(trying); err == nil {
				_ = h.Release(bounded(t))
			}
		}
	})
	for range 100 {
		h, err := right.Acquire(bounded(t))
		if err != nil {
			t.Fatal(err)
		}
		release(t, h)
	}
	stop()
	others.Wait()
	release(t, stays)
}

// A client that can write a key below the name can keep others out, and cannot let them in.
func TestAKeyThatCannotBeRightTakesAllOfASemaphore(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	for _, key := range []string{
		"0.-1000of3", "0-0.-1000of3", "0-0.0of3", "0-0.4of3", "0-0.1of0", "0-0.+1of3", "0-0.01of3", "0-0.1of99999", "0-0.1of3x", "0-0.1of3.1of3",
		"x-0.1of3", "0-0.1of99999999999999999999", "by-hand", "a/0-0.1of3", "r0-0", "0-0. 1of3", ".1of3", "0-.1of3", "0.1of3", "",
	} {
		name := prefix + "sem" + key
		if _, err := cli.Put(bounded(t), name+"/"+key, ""); err != nil {
			t.Fatal(err)
		}
		s := semaphore(t, cli, name, 3)
		if h, err := s.TryAcquire(bounded(t)); h != nil || !errors.Is(err, lock.ErrTaken) {
			t.Errorf("%q: a try: %v, %v, want ErrTaken", key, h, err)
		}
		w := queued(t, cli, name, 2, func(ctx context.Context) (*lock.Hold, error) { return s.Acquire(ctx) })
		w.waits(t)
		if _, err := cli.Delete(bounded(t), name+"/"+key); err != nil {
			t.Fatal(err)
		}
		release(t, w.gets(t))
	}
}

// Together they take more than an int of 32 bits holds.
func TestTwoKeysThatTakeAllOfASemaphoreTakeAllOfIt(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	name := prefix + "sem"
	for _, key := range []string{"one", "two"} {
		put(t, cli, name+"/"+key)()
	}
	if h, err := semaphore(t, cli, name, 3).TryAcquire(bounded(t)); h != nil || !errors.Is(err, lock.ErrTaken) {
		t.Errorf("a try: %v, %v, want ErrTaken", h, err)
	}
}

func TestReadersWaitForKeysThatAreNotReaders(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	for _, key := range []string{"0", "by-hand", "r", "r-0", "rx-0", "running", "s", "zz", "~"} {
		name := prefix + "lock" + key
		if _, err := cli.Put(bounded(t), name+"/"+key, ""); err != nil {
			t.Fatal(err)
		}
		m := rwmutex(t, cli, name)
		if h, err := m.TryAcquireRead(bounded(t)); h != nil || !errors.Is(err, lock.ErrTaken) {
			t.Errorf("%q: a try: %v, %v, want ErrTaken", key, h, err)
		}
		one, two := queued(t, cli, name, 2, read(m)), queued(t, cli, name, 3, read(m))
		one.waits(t)
		two.waits(t)
		if _, err := cli.Delete(bounded(t), name+"/"+key); err != nil {
			t.Fatal(err)
		}
		a, b := one.gets(t), two.gets(t)
		release(t, a)
		release(t, b)
	}
}

func TestASemaphoreIsNeverOverfull(t *testing.T) {
	shared, prefix := etcdtest.New(t)
	const size = 4
	var taken, most atomic.Int32
	var working sync.WaitGroup
	for n := range 10 {
		s := semaphore(t, shared, prefix+"sem", size)
		working.Go(func() {
			for range 30 {
				weight := 1 + rand.IntN(3)
				h := must(t)(s.AcquireN(bounded(t), weight))
				now := taken.Add(int32(weight))
				if now > size {
					t.Errorf("client %d: %d of %d are taken", n, now, size)
				}
				for was := most.Load(); now > was && !most.CompareAndSwap(was, now); was = most.Load() {
				}
				taken.Add(-int32(weight))
				release(t, h)
			}
		})
	}
	working.Wait()
	if n := count(t, shared, prefix+"sem/"); n != 0 {
		t.Errorf("%d entries are left", n)
	}
}

func TestManyPassThroughASemaphoreWhileOneHolderStays(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	name := prefix + "sem"
	stays := must(t)(semaphore(t, cli, name, 2).Acquire(bounded(t)))
	first := must(t)(semaphore(t, cli, name, 2).Acquire(bounded(t)))
	var waiting []*waiter
	for n := range 12 {
		s := semaphore(t, cli, name, 2)
		waiting = append(waiting, queued(t, cli, name, int64(n+3), func(ctx context.Context) (*lock.Hold, error) { return s.Acquire(ctx) }))
	}
	release(t, first)
	for _, w := range waiting {
		release(t, w.gets(t))
	}
	release(t, stays)
}

func TestATryIsOverSoonThoughEtcdDoesNotAnswer(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	s, m := semaphore(t, cli, prefix+"semaphore", 3), mutex(t, cli, prefix+"lock")
	release(t, must(t)(s.Acquire(bounded(t)))) // they have leases now
	release(t, acquire(t, m))
	rig(cli).meet(func([]clientv3.Op, func() (*clientv3.TxnResponse, error)) (*clientv3.TxnResponse, error) {
		return nil, rpctypes.ErrTimeout
	})
	ctx := bounded(t)
	for what, try := range map[string]func(context.Context) (*lock.Hold, error){"semaphore": s.TryAcquire, "mutex": m.TryAcquire} {
		h, err := try(ctx)
		if h != nil || err == nil || errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
			t.Errorf("%s: got %v, %v, want an error before ctx ends, and that is not ctx's", what, h, err)
		}
	}
}

// A Semaphore has several holders: a turn that has come does not mean that no entry is ahead.
func TestAMutexBehindASemaphoreWaitsForAllOfItsHolders(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	name := prefix + "sem"
	s := semaphore(t, cli, name, 3)
	a, b, c := must(t)(s.Acquire(bounded(t))), must(t)(s.Acquire(bounded(t))), must(t)(s.Acquire(bounded(t)))
	m := mutex(t, cli, name)
	w := queued(t, cli, name, 4, func(ctx context.Context) (*lock.Hold, error) { return m.Acquire(ctx) })
	release(t, c)
	w.waits(t)
	release(t, a)
	w.waits(t)
	release(t, b)
	release(t, w.gets(t))
}

func TestErrTakenOfASemaphoreNamesTheHolderAndNotAWaiter(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	name := prefix + "sem"
	other := session(t, cli)
	holder := fmt.Sprintf("%s/%x", name, other.Lease())
	if _, err := cli.Put(bounded(t), holder, "", clientv3.WithLease(other.Lease())); err != nil {
		t.Fatal(err)
	}
	s := semaphore(t, cli, name, 1)
	w := queued(t, cli, name, 2, func(ctx context.Context) (*lock.Hold, error) { return s.Acquire(ctx) })
	if _, err := s.TryAcquire(bounded(t)); !errors.Is(err, lock.ErrTaken) || !strings.Contains(err.Error(), holder) {
		t.Errorf("got %v, want ErrTaken by %s", err, holder)
	}
	if _, err := cli.Delete(bounded(t), holder); err != nil {
		t.Fatal(err)
	}
	release(t, w.gets(t))
}

package lock_test

import (
	"context"
	"errors"
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
		t.Errorf("try: %v, %v, want ErrTaken and by whom", h, err)
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

func TestSemaphoresOfDifferentSizesAreTold(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	name := prefix + "sem"
	s, other := semaphore(t, cli, name, 3), semaphore(t, cli, name, 5)
	h := must(t)(s.Acquire(bounded(t)))
	for what, try := range map[string]func(context.Context) (*lock.Hold, error){
		"acquire": func(ctx context.Context) (*lock.Hold, error) { return other.Acquire(ctx) },
		"try":     other.TryAcquire,
	} {
		got, err := try(bounded(t))
		if got != nil || !errors.Is(err, lock.ErrSize) || !strings.Contains(err.Error(), "5") || !strings.Contains(err.Error(), "3") {
			t.Errorf("%s: %v, %v, want ErrSize that names 3 and 5", what, got, err)
		}
	}
	for ctx := bounded(t); count(t, cli, name+"/") != 1; {
		if ctx.Err() != nil {
			t.Fatal("the one that was refused stays in the queue")
		}
	}
	release(t, h)
	for size, s := range map[int]*lock.Semaphore{0: semaphore(t, cli, name, 0), -1: semaphore(t, cli, name, -1), 10_001: semaphore(t, cli, name, 10_001)} {
		if h, err := s.Acquire(bounded(t)); h != nil || !errors.Is(err, lock.ErrSize) {
			t.Errorf("size %d: %v, %v, want ErrSize", size, h, err)
		}
	}
	for _, n := range []int{0, -1, 4} {
		if h, err := s.AcquireN(bounded(t), n); h != nil || !errors.Is(err, lock.ErrSize) {
			t.Errorf("%d of 3: %v, %v, want ErrSize", n, h, err)
		}
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

func TestManyPassThroughASemaphoreBesideOneThatStays(t *testing.T) {
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

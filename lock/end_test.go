package lock_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/lease"
	"github.com/etcdkit/etcdkit/lock"
)

// The entry ahead and the waiter's own go in one revision: it has no turn then.
func TestAWaiterThatIsDeletedWithTheOneAheadIsLost(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	for what, delete := range map[string]func(name string, on clientv3.LeaseID) error{
		"all keys": func(name string, _ clientv3.LeaseID) error {
			_, err := cli.Delete(bounded(t), name+"/", clientv3.WithPrefix())
			return err
		},
		"their lease": func(_ string, on clientv3.LeaseID) error {
			_, err := cli.Revoke(bounded(t), on)
			return err
		},
	} {
		for round := range 5 {
			name := prefix + what + string(rune('0'+round))
			k := lease.NewKeeper(cli, nil)
			m := lock.NewRW(cli, name, &lock.SharedOptions{Keeper: k})
			first := must(t)(m.Acquire(bounded(t)))
			w := queued(t, cli, name, 2, func(ctx context.Context) (*lock.Hold, error) { return m.Acquire(ctx) })
			l, err := k.Lease(bounded(t))
			if err != nil {
				t.Fatal(err)
			}
			if err := delete(name, l.ID()); err != nil {
				t.Fatal(err)
			}
			select {
			case h := <-w.held:
				t.Errorf("%s: held, with the key %s that is gone", what, h.Key())
			case err := <-w.err:
				if !errors.Is(err, lock.ErrLost) {
					t.Errorf("%s: got %v, want ErrLost", what, err)
				}
			case <-bounded(t).Done():
				t.Fatalf("%s: it waits on", what)
			}
			_ = first.Release(bounded(t)) // is lost, too
			m.Close()
			k.Close()
		}
	}
}

func TestACallWithAContextThatHasEndedSendsNothing(t *testing.T) {
	shared, prefix := etcdtest.New(t)
	var sent atomic.Int64
	cli, err := clientv3.New(clientv3.Config{Endpoints: shared.Endpoints(), DialOptions: []grpc.DialOption{
		grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, send grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			sent.Add(1)
			return send(ctx, method, req, reply, cc, opts...)
		}),
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cli.Close() })
	k := lease.NewKeeper(cli, nil)
	t.Cleanup(func() { k.Close() })
	if _, err := k.Lease(bounded(t)); err != nil { // what a call would need first
		t.Fatal(err)
	}
	m := withOptions(t, cli, prefix+"lock", lock.Options{Keeper: k})
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("why")
	cancel(why)
	before := sent.Load()
	for range 100 {
		if _, err := m.Acquire(ctx); !errors.Is(err, why) {
			t.Fatalf("Acquire: %v, want the cause", err)
		}
		if _, err := m.TryAcquire(ctx); !errors.Is(err, why) {
			t.Fatalf("TryAcquire: %v, want the cause", err)
		}
	}
	<-time.After(100 * time.Millisecond) // what would tidy up does so soon
	if n := sent.Load() - before; n != 0 {
		t.Errorf("%d requests, want none", n)
	}
}

func TestACallThatWouldWaitForItselfIsAnError(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	m, rw := mutex(t, cli, prefix+"lock"), rwmutex(t, cli, prefix+"rw")
	err := m.Do(bounded(t), func(ctx context.Context, _ *lock.Hold) error {
		if _, err := m.Acquire(ctx); !errors.Is(err, lock.ErrNested) {
			t.Errorf("Mutex: %v, want ErrNested", err)
		}
		return rw.Do(ctx, func(ctx context.Context, _ *lock.Hold) error {
			for what, acquire := range map[string]func(context.Context, ...clientv3.Op) (*lock.Hold, error){"read": rw.AcquireRead, "write": rw.Acquire} {
				if _, err := acquire(ctx); !errors.Is(err, lock.ErrNested) {
					t.Errorf("RWMutex, %s: %v, want ErrNested", what, err)
				}
			}
			return nil
		})
	})
	if err != nil {
		t.Error(err)
	}
	err = rw.DoRead(bounded(t), func(ctx context.Context, _ *lock.Hold) error {
		_, err := rw.AcquireRead(ctx)
		return err
	})
	if !errors.Is(err, lock.ErrNested) {
		t.Errorf("read within read: %v, want ErrNested", err)
	}
}

// A context can outlive the Do that it comes from.
func TestALockIsNotNestedOnceDoHasEndedOrTheHoldWasReleased(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	m, rw := mutex(t, cli, prefix+"lock"), rwmutex(t, cli, prefix+"rw")
	var afterDo, afterRead context.Context
	err := m.Do(bounded(t), func(ctx context.Context, h *lock.Hold) error {
		afterDo = context.WithoutCancel(ctx)
		release(t, h)
		h, err := m.Acquire(ctx)
		if err != nil {
			return err
		}
		return h.Release(ctx)
	})
	if err != nil {
		t.Errorf("Acquire within Do, after its hold was released: %v", err)
	}
	if err := rw.DoRead(bounded(t), func(ctx context.Context, _ *lock.Hold) error { afterRead = context.WithoutCancel(ctx); return nil }); err != nil {
		t.Error(err)
	}
	release(t, must(t)(m.Acquire(afterDo)))
	err = m.Do(bounded(t), func(ctx context.Context, h *lock.Hold) error {
		afterDo = context.WithoutCancel(ctx)
		_, err := cli.Delete(ctx, h.Key())
		return err
	})
	if !errors.Is(err, lock.ErrLost) {
		t.Errorf("got %v, want ErrLost", err)
	}
	release(t, must(t)(m.Acquire(afterDo)))
	release(t, must(t)(rw.Acquire(afterRead)))
	release(t, must(t)(rw.AcquireRead(afterRead)))
}

func TestAReadHoldWithinAWriteHoldIsRefusedWithTheReason(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	rw := rwmutex(t, cli, prefix+"rw")
	err := rw.Do(bounded(t), func(ctx context.Context, _ *lock.Hold) error {
		_, err := rw.AcquireRead(ctx)
		return err
	})
	if !errors.Is(err, lock.ErrNested) || !strings.Contains(err.Error(), "a write hold cannot become a read hold") {
		t.Errorf("got %v, want ErrNested and why", err)
	}
}

func TestACommitOfTooManyOperationsSaysHowManyThereMayBe(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	m := mutex(t, cli, prefix+"lock")
	commit := func(n int) error {
		h := acquire(t, m)
		next := queued(t, cli, prefix+"lock", 1, func(ctx context.Context) (*lock.Hold, error) { return m.Acquire(ctx, clientv3.OpGet(prefix+"x")) })
		var ops []clientv3.Op
		for i := range n {
			ops = append(ops, clientv3.OpPut(fmt.Sprint(prefix, "many/", n, "/", i), "x"))
		}
		_, err := h.Commit(bounded(t), ops...)
		release(t, next.gets(t))
		return err
	}
	if err := commit(127); err != nil {
		t.Errorf("127 operations: %v", err)
	}
	err := commit(128)
	if !errors.Is(err, rpctypes.ErrTooManyOps) || errors.Is(err, lock.ErrLost) || !strings.Contains(err.Error(), "128 operations, and one that releases") {
		t.Errorf("128 operations: got %v, want etcd's error and what to do", err)
	}
	if n := count(t, cli, prefix+"many/128/"); n != 0 {
		t.Errorf("%d of them were written", n)
	}
}

func TestReadsAreThoseOfTheirHold(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	m := withOptions(t, cli, prefix+"lock", lock.Options{Linger: time.Hour})
	h := acquire(t, m, clientv3.OpGet(prefix+"key"))
	release(t, h)
	again := acquire(t, m)
	if len(h.Reads()) != 1 || len(again.Reads()) != 0 {
		t.Errorf("%d answers, then %d: want the first hold's one, and none", len(h.Reads()), len(again.Reads()))
	}
	release(t, again)
}

func TestATryOnALeaseThatWasRevokedTakesAnotherOne(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	s := semaphore(t, cli, prefix+"sem", 2)
	h := must(t)(s.Acquire(bounded(t)))
	resp, err := cli.Get(bounded(t), h.Key())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cli.Revoke(bounded(t), clientv3.LeaseID(resp.Kvs[0].Lease)); err != nil {
		t.Fatal(err)
	}
	release(t, must(t)(s.TryAcquire(bounded(t))))
	_ = h.Release(bounded(t)) // is lost
}

// What Do's context ends with is not what its Commit came to.
func TestAnUnknownOutcomeWithinDoIsNoLoss(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	kv := cli.KV
	r := rig(cli)
	m := withOptions(t, cli, prefix+"lock", lock.Options{TTL: 2 * time.Second})
	err := m.Do(bounded(t), func(ctx context.Context, h *lock.Hold) error {
		resp, err := kv.Get(ctx, h.Key())
		if err != nil {
			return err
		}
		r.meet(func(_ []clientv3.Op, commit func() (*clientv3.TxnResponse, error)) (*clientv3.TxnResponse, error) {
			if _, err := commit(); err != nil {
				return nil, err
			}
			if _, err := cli.Revoke(bounded(t), clientv3.LeaseID(resp.Kvs[0].Lease)); err != nil {
				return nil, err
			}
			<-ctx.Done() // the loss is noticed
			return nil, rpctypes.ErrTimeout
		})
		_, err = h.Commit(ctx, clientv3.OpDelete(prefix+"key")) // history does not tell of it
		return err
	})
	r.meet(nil)
	if !errors.Is(err, lock.ErrUnknown) || errors.Is(err, lock.ErrLost) {
		t.Errorf("got %v, want ErrUnknown, and not ErrLost, which says that nothing was written", err)
	}
}

// A hold that is lost is its owner's until it is released: the Mutex waits for that.
func TestAnErrorNamesALostHoldThatWasNotReleased(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	m := mutex(t, cli, prefix+"lock")
	h := acquire(t, m)
	short := func() context.Context {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		t.Cleanup(cancel)
		return ctx
	}
	if _, err := m.Acquire(short()); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), fmt.Sprintf("this process (pid %d) holds it", os.Getpid())) {
		t.Errorf("Acquire while it is held: %v, want the holder", err)
	}
	if _, err := cli.Revoke(bounded(t), clientv3.LeaseID(leaseOf(t, cli, h.Key()))); err != nil {
		t.Fatal(err)
	}
	<-h.Done()
	if _, err := m.Acquire(short()); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "is lost and has not been released") {
		t.Errorf("Acquire: %v, want what is in the way", err)
	}
	if _, err := m.TryAcquire(bounded(t)); !errors.Is(err, lock.ErrTaken) || !strings.Contains(err.Error(), "is lost and has not been released") {
		t.Errorf("TryAcquire: %v, want what is in the way", err)
	}
	if _, err := m.Resume(bounded(t), h.ResumeToken()); !errors.Is(err, lock.ErrLost) {
		t.Errorf("Resume of it: %v, want ErrLost", err)
	}
	if err := h.Release(bounded(t)); !errors.Is(err, lock.ErrLost) {
		t.Errorf("Release: %v, want ErrLost", err)
	}
	h = acquire(t, m)
	release(t, h)
}

// clientv3 sends a transaction again, without a word, when its connection ended with the answer.
func TestACommitThatWasSentTwiceAndWroteNoKeyIsUnknown(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	r := rig(cli)
	h := acquire(t, mutex(t, cli, prefix+"lock"))
	r.meet(func(_ []clientv3.Op, commit func() (*clientv3.TxnResponse, error)) (*clientv3.TxnResponse, error) {
		if _, err := commit(); err != nil {
			return nil, err
		}
		return commit()
	})
	_, err := h.Commit(bounded(t), clientv3.OpDelete(prefix+"key")) // history does not tell of it
	r.meet(nil)
	if !errors.Is(err, lock.ErrUnknown) || errors.Is(err, lock.ErrLost) {
		t.Errorf("got %v, want ErrUnknown, and not ErrLost, which says that nothing was deleted", err)
	}
}

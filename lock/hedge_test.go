package lock_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/lock"
)

// hedged has the next transaction, once it was sent again beside itself, do as first and fail without an
// answer. Then the second one does as second.
func (r *rigged) hedged(first, second answer) {
	var tries atomic.Int32
	var key string // of the first
	again, failed := make(chan struct{}), make(chan struct{})
	r.meet(func(ops []clientv3.Op, commit func() (*clientv3.TxnResponse, error)) (*clientv3.TxnResponse, error) {
		switch tries.Add(1) {
		case 1:
			key = string(ops[0].KeyBytes())
			<-again
			defer close(failed)
			_, _ = first(ops, commit)
			return nil, rpctypes.ErrTimeout
		case 2:
			close(again)
			<-failed
			<-time.After(20 * time.Millisecond) // and that is known
			return second(ops, commit)
		}
		if <-failed; string(ops[0].KeyBytes()) == key && ops[0].IsPut() { // a third try, as the first one took long
			return second(ops, commit)
		}
		return commit()
	})
}

// carriedOut is an answer as it comes.
func carriedOut(_ []clientv3.Op, commit func() (*clientv3.TxnResponse, error)) (*clientv3.TxnResponse, error) {
	return commit()
}

// tries are how a Mutex is acquired with one transaction.
var tries = map[string]func(*lock.Mutex, context.Context) (*lock.Hold, error){
	"Acquire":    func(m *lock.Mutex, ctx context.Context) (*lock.Hold, error) { return m.Acquire(ctx) },
	"TryAcquire": (*lock.Mutex).TryAcquire,
}

// freeSoon checks that no entry keeps another Mutex out.
func freeSoon(t *testing.T, cli *clientv3.Client, name string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
	defer cancel()
	h, err := mutex(t, cli, name).Acquire(ctx)
	if err != nil {
		t.Fatalf("an abandoned entry keeps others out: %v", err)
	}
	release(t, h)
}

// A try fails without an answer, one that was sent beside it gets in, and the first arrives when the hold is over.
func TestALateHedgedTryThatFailedLeavesTheLockFree(t *testing.T) {
	t.Parallel()
	for what, try := range tries {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			cli, prefix := etcdtest.New(t)
			name := prefix + "lock"
			kv, r := cli.KV, rig(cli)
			m := mutex(t, cli, name)
			release(t, acquire(t, m))
			var late []clientv3.Op
			r.hedged(func(ops []clientv3.Op, _ func() (*clientv3.TxnResponse, error)) (*clientv3.TxnResponse, error) {
				late = ops
				return nil, nil
			}, carriedOut)
			release(t, must(t)(try(m, bounded(t))))
			resp, err := kv.Txn(bounded(t)).If(clientv3.Compare(clientv3.CreateRevision(string(late[0].KeyBytes())), "=", 0)).Then(late...).Commit()
			if err != nil || !resp.Succeeded {
				t.Fatalf("void: %v, %v", resp, err)
			}
			freeSoon(t, cli, name)
		})
	}
}

// A try is carried out, and fails without an answer; one that was sent beside it is refused.
func TestAHedgedTryThatIsAppliedBesideARefusedOneLeavesTheLockFree(t *testing.T) {
	t.Parallel()
	for what, try := range tries {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			cli, prefix := etcdtest.New(t)
			name := prefix + "lock"
			r := rig(cli)
			m := mutex(t, cli, name)
			release(t, acquire(t, m))
			r.hedged(carriedOut, func([]clientv3.Op, func() (*clientv3.TxnResponse, error)) (*clientv3.TxnResponse, error) {
				return nil, rpctypes.ErrNoSpace
			})
			if h, err := try(m, bounded(t)); !errors.Is(err, rpctypes.ErrNoSpace) {
				t.Fatalf("got %v, %v, want what etcd said", h, err)
			}
			freeSoon(t, cli, name)
		})
	}
}

// A try of entering may come late: so its key is deleted for a while, and then given back. The Commit's
// outcome cannot be found out: so the entry is deleted beside that. Given back twice, the key could be
// another entry's the second time.
func TestAKeyIsGivenBackOnceThoughATryMayComeLate(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	r := rig(cli)
	m := mutex(t, cli, prefix+"lock")
	release(t, acquire(t, m))
	r.fates(unsent)
	h := acquire(t, m)
	deleting, goOn := make(chan struct{}, 10), make(chan struct{})
	defer close(goOn)
	committed := false
	r.meet(func(ops []clientv3.Op, commit func() (*clientv3.TxnResponse, error)) (*clientv3.TxnResponse, error) {
		if len(ops) == 2 && !committed { // what it commits, and the release
			committed = true
			_, err := commit()
			return nil, errors.Join(err, rpctypes.ErrTimeout)
		}
		if len(ops) == 1 && string(ops[0].KeyBytes()) == h.Key() {
			deleting <- struct{}{}
			<-goOn
		}
		return commit()
	})
	if _, err := h.Commit(bounded(t), clientv3.OpDelete(prefix+"x")); !errors.Is(err, lock.ErrUnknown) {
		t.Fatalf("void: got %v, want ErrUnknown", err)
	}
	for range 2 {
		happens(t, "late tries, and the entry, are deleted", deleting)
	}
	for range 2 {
		goOn <- struct{}{}
	}
	happens(t, "late tries are deleted again", deleting)
	select {
	case <-deleting:
		t.Error("late tries are deleted twice at a time, and the key is given back after each")
	case <-time.After(300 * time.Millisecond):
	}
}

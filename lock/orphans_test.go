package lock_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/lease"
	"github.com/etcdkit/etcdkit/lock"
)

// beside is a Mutex beside a shared Keeper, whose lease does not end with the Mutex.
func beside(t *testing.T, cli *clientv3.Client, name string, k *lease.Keeper) *lock.Mutex {
	t.Helper()
	m := lock.New(cli, name, &lock.Options{Keeper: k})
	t.Cleanup(func() { m.Close() })
	return m
}

func shortKeeper(t *testing.T, cli *clientv3.Client, ttl time.Duration) *lease.Keeper {
	t.Helper()
	k := lease.NewKeeper(cli, &lease.Options{TTL: ttl})
	t.Cleanup(func() { k.Close() })
	return k
}

// empty waits until the queue is empty.
func empty(t *testing.T, cli *clientv3.Client, name string) {
	t.Helper()
	for ctx := bounded(t); count(t, cli, name+"/") != 0; {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			t.Fatal("an abandoned entry stays in the queue")
		}
	}
}

// The first try gets no answer, the second one enters, its caller goes, and then the first arrives.
func TestALateTryOfACancelledWaitIsRemoved(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	kv := cli.KV
	name := prefix + "lock"
	h := acquire(t, mutex(t, cli, name))
	r := rig(cli)
	var late []clientv3.Op
	r.meet(func(ops []clientv3.Op, commit func() (*clientv3.TxnResponse, error)) (*clientv3.TxnResponse, error) {
		if late == nil {
			late = ops
			return nil, rpctypes.ErrTimeout
		}
		return commit()
	})
	m := mutex(t, cli, name)
	w := queued(t, cli, name, 2, func(ctx context.Context) (*lock.Hold, error) { return m.Acquire(ctx) })
	w.stop()
	if err := <-w.err; !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want the cancellation", err)
	}
	for count(t, cli, name+"/") != 1 {
	}
	resp, err := kv.Txn(bounded(t)).If(clientv3.Compare(clientv3.CreateRevision(string(late[0].KeyBytes())), "=", 0)).Then(late...).Commit()
	if err != nil || !resp.Succeeded {
		t.Fatalf("void: %v, %v", resp, err)
	}
	release(t, h)
	empty(t, cli, name)
}

func TestAResumeWithoutAnAnswerLeavesTheLockFree(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	elsewhere, _ := etcdtest.New(t)
	name := prefix + "lock"
	saved := acquire(t, mutex(t, elsewhere, name)).ResumeToken()
	m := mutex(t, cli, name)
	r := rig(cli)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r.meet(func(_ []clientv3.Op, commit func() (*clientv3.TxnResponse, error)) (*clientv3.TxnResponse, error) {
		if _, err := commit(); err != nil {
			return nil, err
		}
		cancel()
		return nil, rpctypes.ErrTimeout
	})
	if _, err := m.Resume(ctx, saved); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want the cancellation", err)
	}
	r.meet(nil)
	release(t, acquire(t, m))
}

func TestAResumeWithoutALeaseIsAnError(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	elsewhere, _ := etcdtest.New(t)
	saved := acquire(t, mutex(t, elsewhere, prefix+"lock")).ResumeToken()
	k := lease.NewKeeper(cli, nil)
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	if h, err := beside(t, cli, prefix+"lock", k).Resume(bounded(t), saved); h != nil || !errors.Is(err, lease.ErrClosed) {
		t.Errorf("got %v, %v, want no hold and that the Keeper is closed", h, err)
	}
}

// The earlier process's word on its hold comes when another one has resumed it.
func TestALateNoteDoesNotUndoAResume(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	elsewhere, _ := etcdtest.New(t)
	name := prefix + "lock"
	r := rig(elsewhere)
	h := acquire(t, mutex(t, elsewhere, name))
	arrived, goOn, done := make(chan struct{}), make(chan struct{}), make(chan *clientv3.TxnResponse, 1)
	arrive := sync.OnceFunc(func() { close(arrived) }) // a note without an answer is sent again
	r.meet(func(_ []clientv3.Op, commit func() (*clientv3.TxnResponse, error)) (*clientv3.TxnResponse, error) {
		arrive()
		<-goOn
		resp, err := commit()
		done <- resp
		return resp, err
	})
	<-arrived // a second after it was acquired
	again, err := mutex(t, cli, name).Resume(bounded(t), h.ResumeToken())
	if err != nil {
		t.Fatal(err)
	}
	ours := leaseOf(t, cli, again.Key())
	close(goOn)
	if resp := <-done; resp == nil {
		t.Fatal("void: the note did not get through")
	}
	r.meet(nil)
	if now := leaseOf(t, cli, again.Key()); now != ours {
		t.Errorf("the key is on the lease %x of the earlier process again, want it on %x", now, ours)
	}
	release(t, again)
}

// Close does not wait for an outage to end, and the lease goes on.
func TestWhatCloseCouldNotRemoveIsRemovedLater(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	name := prefix + "lock"
	gate, through := gated(t, cli)
	k := shortKeeper(t, through, time.Minute)
	h := acquire(t, mutex(t, cli, name))
	m := beside(t, through, name, k)
	waited := make(chan error, 1)
	go func() { // waited for below
		_, err := m.Acquire(bounded(t))
		waited <- err
	}()
	for count(t, cli, name+"/") != 2 {
	}
	gate.SetTarget("")
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if err := <-waited; !errors.Is(err, lock.ErrClosed) {
		t.Errorf("got %v, want ErrClosed", err)
	}
	if n := count(t, cli, name+"/"); n != 2 {
		t.Fatal("void: its entry is gone, though etcd was away")
	}
	gate.SetTarget(cli.Endpoints()[0])
	release(t, h)
	empty(t, cli, name)
}

// Close ended the hold: it is lost, also with a shared Keeper.
func TestAReleaseAfterCloseSaysThatTheHoldIsLostAndLeavesNothing(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	k := shortKeeper(t, cli, time.Minute)
	for range 10 {
		m := beside(t, cli, prefix+"lock", k)
		h := acquire(t, m)
		if err := m.Close(); err != nil {
			t.Error(err)
		}
		if err := h.Release(bounded(t)); !errors.Is(err, lock.ErrLost) {
			t.Errorf("Release after Close: %v, want ErrLost", err)
		}
		empty(t, cli, prefix+"lock")
	}
}

// The lease carries a registry's keys, say, so that the Keeper does not revoke it.
func TestALostHoldOnALeaseThatCarriesMoreIsRemoved(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	name := prefix + "lock"
	gate, through := gated(t, cli)
	k := shortKeeper(t, through, 2*time.Second)
	if _, err := k.Reserve(bounded(t), 1); err != nil {
		t.Fatal(err)
	}
	h := acquire(t, beside(t, through, name, k))
	prolong(t, cli, h.Key())
	gate.SetTarget("")
	<-h.Done()
	gate.SetTarget(cli.Endpoints()[0])
	if err := h.Release(bounded(t)); !errors.Is(err, lock.ErrLost) {
		t.Fatalf("got %v, want ErrLost", err)
	}
	empty(t, cli, name)
}

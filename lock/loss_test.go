package lock_test

import (
	"context"
	"errors"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/lock"
)

func TestARevokedLeaseEndsHoldAndWaiter(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	a, b := mutex(t, cli, prefix+"lock"), mutex(t, cli, prefix+"lock")
	h := acquire(t, a)
	waited := make(chan error, 1)
	go func() { // waited for below
		_, err := b.Acquire(bounded(t))
		waited <- err
	}()
	for count(t, cli, prefix+"lock/") != 2 {
	}
	resp, err := cli.Get(bounded(t), prefix+"lock/", clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	for _, kv := range resp.Kvs {
		if string(kv.Key) != h.Key() {
			if _, err := cli.Revoke(bounded(t), clientv3.LeaseID(kv.Lease)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := <-waited; !errors.Is(err, lock.ErrLost) {
		t.Errorf("a waiter whose lease was revoked: %v, want ErrLost", err)
	}
	mine, err := cli.Get(bounded(t), h.Key())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cli.Revoke(bounded(t), clientv3.LeaseID(mine.Kvs[0].Lease)); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Commit(bounded(t), clientv3.OpPut(prefix+"x", "1")); !errors.Is(err, lock.ErrLost) {
		t.Errorf("commit after the lease was revoked: %v, want ErrLost", err)
	}
	if n := count(t, cli, prefix+"x"); n != 0 {
		t.Error("it was written all the same")
	}
	select {
	case <-h.Done():
	case <-bounded(t).Done():
		t.Error("Done was not closed")
	}
	release(t, acquire(t, a)) // and the Mutex goes on
}

func TestDoEndsItsContextWhenTheLockIsLost(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	m := mutex(t, cli, prefix+"lock")
	err := m.Do(bounded(t), func(ctx context.Context, h *lock.Hold) error {
		if _, err := cli.Revoke(ctx, clientv3.LeaseID(leaseOf(t, cli, h.Key()))); err != nil {
			return err
		}
		<-ctx.Done()
		if cause := context.Cause(ctx); !errors.Is(cause, lock.ErrLost) {
			t.Errorf("cause %v, want ErrLost", cause)
		}
		return ctx.Err()
	})
	if !errors.Is(err, lock.ErrLost) {
		t.Errorf("got %v, want ErrLost", err)
	}
	err = m.Do(bounded(t), func(ctx context.Context, h *lock.Hold) error {
		_, err := cli.Delete(ctx, h.Key()) // the holder is not told
		return err
	})
	if !errors.Is(err, lock.ErrLost) {
		t.Errorf("got %v, want ErrLost", err)
	}
	if err := m.Do(bounded(t), func(context.Context, *lock.Hold) error { return nil }); err != nil {
		t.Error(err)
	}
	if n := count(t, cli, prefix+"lock/"); n != 0 {
		t.Errorf("%d entries are left", n)
	}
}

func leaseOf(t testing.TB, cli *clientv3.Client, key string) int64 {
	t.Helper()
	resp, err := cli.Get(bounded(t), key)
	if err != nil || len(resp.Kvs) != 1 {
		t.Fatalf("%s: %v, %v", key, resp, err)
	}
	return resp.Kvs[0].Lease
}

// prolong keeps the lease of a key alive for the test, as new leaders of etcd do, which start every TTL
// again: its owner may have to give it up meanwhile.
func prolong(t *testing.T, cli *clientv3.Client, key string) {
	t.Helper()
	renewed, err := cli.KeepAlive(t.Context(), clientv3.LeaseID(leaseOf(t, cli, key)))
	if err != nil {
		t.Fatal(err)
	}
	go func() { // ends with the test
		for range renewed {
		}
	}()
}

func TestALostHoldIsOutOfTheWayOnceItsOwnerIsBack(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	gate, through := gated(t, cli)
	m := withOptions(t, through, prefix+"lock", lock.Options{TTL: 2 * time.Second})
	h := acquire(t, m)
	prolong(t, cli, h.Key())
	gate.SetTarget("")
	<-h.Done()
	if err := h.Release(bounded(t)); !errors.Is(err, lock.ErrLost) {
		t.Fatalf("got %v, want ErrLost", err)
	}
	if n := count(t, cli, h.Key()); n != 1 {
		t.Fatal("void: etcd does not have the lost entry any more")
	}
	gate.SetTarget(cli.Endpoints()[0])
	release(t, acquire(t, m))
}

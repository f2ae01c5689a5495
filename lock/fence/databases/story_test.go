package databases_test

import (
	"context"
	"database/sql"
	"errors"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/lock"
	"github.com/etcdkit/etcdkit/lock/fence"
)

// The story that fences are for, with a real lock: the first holder reads, and stands still until
// its lease has ended; the second one has the lock; the first one goes on.
func TestALateWriteOfAHolderThatLostTheLockIsRefused(t *testing.T) {
	each(t, func(t *testing.T, db *sql.DB) {
		ctx, cancel := context.WithTimeout(t.Context(), within)
		defer cancel()
		cli, prefix := etcdtest.New(t)
		name := prefix + "lock"

		first := acquire(ctx, t, cli, name)
		token := first.Token() // of the hold as it was; from here on it stands still
		endLease(ctx, t, cli, first)

		second := acquire(ctx, t, cli, name)
		if second.Token() <= token {
			t.Fatalf("token %d after %d", second.Token(), token)
		}
		if err := write(ctx, db, second.Token(), "of the second"); err != nil {
			t.Fatal(err)
		}
		if err := write(ctx, db, token, "late"); !errors.Is(err, fence.ErrStale) {
			t.Errorf("the late write: got %v, want ErrStale", err)
		}
		if err := write(ctx, db, second.Token(), "of the second, again"); err != nil {
			t.Error(err)
		}
		if text, _ := read(t, db); text != "of the second, again" {
			t.Errorf("the file is %q", text)
		}
		if err := second.Release(ctx); err != nil {
			t.Error(err)
		}
	})
}

func acquire(ctx context.Context, t *testing.T, cli *clientv3.Client, name string) *lock.Hold {
	t.Helper()
	m := lock.New(cli, name, nil) // each as if in a process of its own
	t.Cleanup(func() { m.Close() })
	h, err := m.Acquire(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// endLease revokes the lease on which a lock is held, as its expiry would.
func endLease(ctx context.Context, t *testing.T, cli *clientv3.Client, h *lock.Hold) {
	t.Helper()
	resp, err := cli.Get(ctx, h.Key())
	if err != nil || len(resp.Kvs) != 1 {
		t.Fatalf("read %q: %v, %v", h.Key(), resp, err)
	}
	if _, err := cli.Revoke(ctx, clientv3.LeaseID(resp.Kvs[0].Lease)); err != nil {
		t.Fatal(err)
	}
}

package lock_test

import (
	"context"
	"errors"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/namespace"
	"go.uber.org/zap"

	"github.com/etcdkit/etcdkit/election"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/lock"
)

// A client behind clientv3/namespace has its locks below its prefix, and excludes those of a plain
// client there.
func TestANamespacedClientLocksBelowItsPrefix(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	within, err := clientv3.New(clientv3.Config{Endpoints: cli.Endpoints(), Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { within.Close() })
	within.KV, within.Watcher, within.Lease = namespace.NewKV(within.KV, prefix), namespace.NewWatcher(within.Watcher, prefix), namespace.NewLease(within.Lease, prefix)
	m := mutex(t, within, "lock")
	plain := mutex(t, cli, prefix+"lock")
	h := acquire(t, m)
	if _, err := plain.TryAcquire(bounded(t)); !errors.Is(err, lock.ErrTaken) {
		t.Errorf("a plain client: %v, want ErrTaken", err)
	}
	waits := queued(t, cli, prefix+"lock", 2, func(ctx context.Context) (*lock.Hold, error) { return plain.Acquire(ctx) })
	q, err := lock.Entries(bounded(t), within, "lock", nil)
	if err != nil || len(q.Entries) != 2 || q.Entries[0].Key != h.Key() || q.Entries[0].PID == 0 {
		t.Errorf("its entries: %+v, %v", q, err)
	}
	if _, err := h.Commit(bounded(t), clientv3.OpPut("written", "1")); err != nil {
		t.Error(err)
	}
	if n := count(t, cli, prefix+"written"); n != 1 {
		t.Error("what it commits is not below its prefix")
	}
	h = waits.gets(t)
	waits = queued(t, cli, prefix+"lock", 2, func(ctx context.Context) (*lock.Hold, error) { return m.Acquire(ctx) })
	release(t, h)
	release(t, waits.gets(t))

	e := election.New(within, "jobs", nil)
	defer e.Close()
	term, err := e.Campaign(bounded(t), "x")
	if err != nil {
		t.Fatal(err)
	}
	if l, err := e.Leader(bounded(t)); err != nil || l.Value != "x" {
		t.Errorf("the leader is %v, %v", l, err)
	}
	if err := term.Resign(bounded(t)); err != nil {
		t.Error(err)
	}
	for l, err := range e.Observe(bounded(t)) { // a mirror reads the keys with their prefix
		if err == nil {
			t.Errorf("Observe yields %v, want it refused", l)
		}
		t.Logf("Observe: %v", err)
		break
	}
}

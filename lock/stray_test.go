package lock_test

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/lock"
)

// slowWatch has the events of one key that bring one value come late: watches are independent.
type slowWatch struct {
	clientv3.Watcher
	key  string
	mu   sync.Mutex
	late string
}

func (w *slowWatch) Watch(ctx context.Context, key string, opts ...clientv3.OpOption) clientv3.WatchChan {
	from := w.Watcher.Watch(ctx, key, opts...)
	if key != w.key {
		return from
	}
	to := make(chan clientv3.WatchResponse)
	go func() { // ends with the watch
		defer close(to)
		for r := range from {
			w.mu.Lock()
			for _, ev := range r.Events {
				if string(ev.Kv.Value) == w.late {
					<-time.After(300 * time.Millisecond)
				}
			}
			w.mu.Unlock()
			select {
			case to <- r:
			case <-ctx.Done():
				return
			}
		}
	}()
	return to
}

// Two turns end before a waiter hears that it waits: what it reads is not older than the last.
func TestWhatIsReadIsAsNewAsAllThatWasAhead(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	name, counter := prefix+"lock", prefix+"counter"
	c, err := clientv3.New(clientv3.Config{Endpoints: cli.Endpoints(), Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	slow := &slowWatch{Watcher: c.Watcher, key: counter}
	c.Watcher = slow
	r := rig(c)
	a, b, last := mutex(t, cli, name), mutex(t, cli, name), mutex(t, c, name)
	n := 0
	commit := func(h *lock.Hold) {
		t.Helper()
		n++
		if _, err := h.Commit(bounded(t), clientv3.OpPut(counter, strconv.Itoa(n))); err != nil {
			t.Fatal(err)
		}
	}
	reading := func(ctx context.Context) (*lock.Hold, error) { return last.Acquire(ctx, clientv3.OpGet(counter)) }
	for range 20 { // the order in which the two are looked at is that of a map: one in a million lets a mutant live
		ha := acquire(t, a) // the last one's watches open, and see the counter
		w := queued(t, cli, name, 2, reading)
		commit(ha)
		release(t, w.gets(t))

		ha = acquire(t, a)
		wb := queued(t, cli, name, 2, func(ctx context.Context) (*lock.Hold, error) { return b.Acquire(ctx) })
		answer := make(chan struct{})
		var once sync.Once
		r.meet(func(_ []clientv3.Op, commit func() (*clientv3.TxnResponse, error)) (*clientv3.TxnResponse, error) {
			resp, err := commit()
			once.Do(func() { <-answer })
			return resp, err
		})
		wc := queued(t, cli, name, 3, reading)
		slow.mu.Lock()
		slow.late = strconv.Itoa(n + 2)
		slow.mu.Unlock()
		commit(ha)
		commit(wb.gets(t))
		<-time.After(50 * time.Millisecond) // the deletions are heard by then
		close(answer)
		hc := wc.gets(t)
		if got := string(hc.Reads()[0].Kvs[0].Value); got != strconv.Itoa(n) {
			t.Errorf("read %s, want %d", got, n)
		}
		release(t, hc)
		r.meet(nil)
	}
}

// A Release brings the next one in, unheard, and then etcd refuses it.
func TestAnEntryThatNoCallNeedsIsRemoved(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	r := rig(cli)
	m := mutex(t, cli, prefix+"lock")
	h := acquire(t, m)
	waited := make(chan error, 1)
	go func() {
		_, err := m.Acquire(bounded(t))
		waited <- err
	}()
	for ctx := bounded(t); m.Stats().Waiting != 1; {
		if ctx.Err() != nil {
			t.Fatal("void: it does not wait")
		}
		<-time.After(time.Millisecond)
	}
	<-time.After(100 * time.Millisecond) // it is in line by then
	r.fates(unheard, answered, full)
	release(t, h)
	if err := <-waited; err == nil {
		t.Fatal("void: etcd did not refuse it")
	}
	release(t, acquire(t, mutex(t, cli, prefix+"lock")))
}

// A try of entering that was given up comes when its Acquire, and its hold, are over.
func TestATryThatComesLateLeavesTheLockFree(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	kv := cli.KV
	r := rig(cli)
	m := mutex(t, cli, prefix+"lock")
	release(t, acquire(t, m))
	var late []clientv3.Op
	r.meet(func(ops []clientv3.Op, commit func() (*clientv3.TxnResponse, error)) (*clientv3.TxnResponse, error) {
		if late == nil {
			late = ops
			return nil, rpctypes.ErrTimeout
		}
		return commit()
	})
	release(t, acquire(t, m))
	resp, err := kv.Txn(bounded(t)).If(clientv3.Compare(clientv3.CreateRevision(string(late[0].KeyBytes())), "=", 0)).Then(late...).Commit()
	if err != nil || !resp.Succeeded {
		t.Fatalf("void: %v, %v", resp, err)
	}
	freeSoon(t, cli, prefix+"lock")
}

func TestABusyEtcdIsAskedAgain(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	r := rig(cli)
	m := mutex(t, cli, prefix+"lock")
	release(t, acquire(t, m))
	r.fates(busy)
	release(t, acquire(t, m))
}

// unheeding is a Watcher whose watches never open.
type unheeding struct {
	clientv3.Watcher
	on atomic.Bool
}

func (d *unheeding) Watch(ctx context.Context, key string, opts ...clientv3.OpOption) clientv3.WatchChan {
	if !d.on.Load() {
		return d.Watcher.Watch(ctx, key, opts...)
	}
	<-ctx.Done()
	none := make(chan clientv3.WatchResponse)
	close(none)
	return none
}

func TestALingeringEntryIsRemovedThoughItsWatchIsSilent(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	other, err := clientv3.New(clientv3.Config{Endpoints: cli.Endpoints(), Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { other.Close() })
	d := &unheeding{Watcher: cli.Watcher}
	d.on.Store(true)
	cli.Watcher = d
	m := withOptions(t, cli, prefix+"lock", lock.Options{Linger: time.Hour})
	release(t, acquire(t, m))
	got := make(chan *lock.Hold, 1)
	theirs := mutex(t, other, prefix+"lock")
	go func() {
		h, _ := theirs.Acquire(bounded(t))
		got <- h
	}()
	for limit := bounded(t); ; { // it is in use, and never for long
		select {
		case h := <-got:
			release(t, h)
			return
		case <-limit.Done():
			t.Fatal("it is never given up")
		case <-time.After(10 * time.Millisecond):
		}
		if h, err := m.TryAcquire(bounded(t)); err == nil {
			release(t, h)
		}
	}
}

// A write of this process has come under the key that the next call uses, long after its caller had gone.
func TestTryAcquireRemovesAnOrphanUnderItsOwnKey(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	m := mutex(t, cli, prefix+"lock")
	h := acquire(t, m)
	resp, err := cli.Get(bounded(t), h.Key())
	if err != nil {
		t.Fatal(err)
	}
	release(t, h)
	if _, err := cli.Put(bounded(t), h.Key(), `{"nonce":"orphan"}`, clientv3.WithLease(clientv3.LeaseID(resp.Kvs[0].Lease))); err != nil {
		t.Fatal(err)
	}
	for ctx, end := bounded(t), time.Now().Add(3*time.Second); ; {
		h, err := m.TryAcquire(ctx)
		if err == nil {
			release(t, h)
			return
		}
		if !errors.Is(err, lock.ErrTaken) || time.Now().After(end) {
			t.Fatalf("got %v, want the lock once the orphan is removed", err)
		}
		<-time.After(10 * time.Millisecond)
	}
}

// The lease is gone, as etcd says, and etcd does not say anything more.
func TestTryAcquireDoesNotWaitToLearnWhatItsLeaseIs(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	gate, through := gated(t, cli)
	r := rig(through)
	m := withOptions(t, through, prefix+"lock", lock.Options{TTL: time.Minute})
	release(t, acquire(t, m))
	r.meet(func([]clientv3.Op, func() (*clientv3.TxnResponse, error)) (*clientv3.TxnResponse, error) {
		gate.SetTarget("")
		return nil, rpctypes.ErrLeaseNotFound
	})
	began := time.Now()
	if _, err := m.TryAcquire(context.Background()); !errors.Is(err, rpctypes.ErrLeaseNotFound) {
		t.Errorf("got %v, want that the lease is not found", err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it takes %v, want about 4 s", took)
	}
}

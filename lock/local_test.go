package lock_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/lease"
	"github.com/etcdkit/etcdkit/lock"
)

func withOptions(t testing.TB, cli *clientv3.Client, name string, opts lock.Options) *lock.Mutex {
	t.Helper()
	m := lock.New(cli, name, &opts)
	t.Cleanup(func() { m.Close() })
	return m
}

func revision(t testing.TB, cli *clientv3.Client) int64 {
	t.Helper()
	resp, err := cli.Get(bounded(t), "none")
	if err != nil {
		t.Fatal(err)
	}
	return resp.Header.Revision
}

func TestGoroutinesHandALocalHoldOnWithoutAWrite(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	m := withOptions(t, cli, prefix+"lock", lock.Options{Local: lock.Local{For: time.Hour, Times: 1000}})
	first := acquire(t, m)
	before := revision(t, cli)
	var working sync.WaitGroup
	var tokens sync.Map
	counter := 0
	for range 10 {
		working.Go(func() {
			for range 20 {
				h, err := m.Acquire(bounded(t))
				if err != nil {
					t.Error(err)
					return
				}
				tokens.Store(h.Token(), true)
				counter++ // under the lock, which -race knows
				release(t, h)
			}
		})
	}
	for waiting := 0; waiting < 9; waiting++ { // most of them wait by then
		<-time.After(time.Millisecond)
	}
	release(t, first)
	working.Wait()
	n := 0
	tokens.Range(func(any, any) bool { n++; return true })
	if counter != 200 {
		t.Errorf("%d of 200", counter)
	}
	if writes := revision(t, cli) - before; writes > 40 || n > 20 {
		t.Errorf("200 holds took %d writes and %d tokens, want few", writes, n)
	}
}

func TestALocalHoldIsHandedOnSoManyTimesAndSoLong(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	for what, local := range map[string]lock.Local{"times": {For: time.Hour, Times: 3}, "time": {For: 50 * time.Millisecond, Times: 1 << 30}} {
		name := prefix + what
		m, other := withOptions(t, cli, name, lock.Options{Local: local}), mutex(t, cli, name)
		first := acquire(t, m)
		ctx, stop := context.WithCancel(bounded(t))
		var working sync.WaitGroup
		for range 3 {
			working.Go(func() {
				for ctx.Err() == nil {
					if h, err := m.Acquire(ctx); err == nil {
						_ = h.Release(context.WithoutCancel(ctx))
					}
				}
			})
		}
		w := queued(t, cli, name, 2, func(ctx context.Context) (*lock.Hold, error) { return other.Acquire(ctx) })
		release(t, first)
		h := w.gets(t) // though the others never pause
		release(t, h)
		stop()
		working.Wait()
	}
}

func TestWhatIsReadWithALocalHoldIsNew(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	m := withOptions(t, cli, prefix+"lock", lock.Options{Local: lock.Local{For: time.Hour}, Linger: time.Minute})
	h := acquire(t, m)
	key := prefix + "value"
	var last *lock.Hold
	var working sync.WaitGroup
	working.Go(func() { last = acquire(t, m, clientv3.OpGet(key)) })
	<-time.After(20 * time.Millisecond)
	put := fmt.Sprint("written by ", h.Token())
	if _, err := cli.Put(bounded(t), key, put); err != nil {
		t.Fatal(err)
	}
	release(t, h)
	working.Wait()
	if got := string(last.Reads()[0].Kvs[0].Value); got != put {
		t.Errorf("read %q, want %q", got, put)
	}
	if _, err := cli.Put(bounded(t), key, "again"); err != nil {
		t.Fatal(err)
	}
	release(t, last)
	last = acquire(t, m, clientv3.OpGet(key))
	if got := string(last.Reads()[0].Kvs[0].Value); got != "again" {
		t.Errorf("after lingering: read %q, want again", got)
	}
	release(t, last)
}

func TestAnEntryLingersForTheNextAcquire(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	m := withOptions(t, cli, prefix+"lock", lock.Options{Linger: time.Minute})
	h := acquire(t, m)
	release(t, h)
	before := revision(t, cli)
	for range 10 {
		again := acquire(t, m)
		if again.Token() != h.Token() || again.Err() != nil {
			t.Errorf("token %d, %v, want %d and held", again.Token(), again.Err(), h.Token())
		}
		release(t, again)
	}
	try, err := m.TryAcquire(bounded(t))
	if err != nil || try.Token() != h.Token() {
		t.Errorf("TryAcquire: %v, want the same", err)
	}
	release(t, try)
	if after := revision(t, cli); after != before {
		t.Errorf("%d writes, want none", after-before)
	}
	h = acquire(t, m)
	if _, err := h.Commit(bounded(t), clientv3.OpPut(prefix+"key", "value")); err != nil {
		t.Fatal(err)
	}
	if n := count(t, cli, prefix+"lock/"); n != 0 {
		t.Errorf("%d entries after Commit, want none", n)
	}
}

func TestALingeringEntryIsRemovedWhenAnotherProcessWaits(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	m, other := withOptions(t, cli, prefix+"lock", lock.Options{Linger: time.Hour}), mutex(t, cli, prefix+"lock")
	h := acquire(t, m)
	release(t, h)
	theirs := acquire(t, other)
	w := queued(t, cli, prefix+"lock", 2, func(ctx context.Context) (*lock.Hold, error) { return m.Acquire(ctx) })
	release(t, theirs)
	h = w.gets(t)
	if h.Token() <= theirs.Token() {
		t.Errorf("token %d, then %d", theirs.Token(), h.Token())
	}
	// A waiter comes while it is held: its release is for that one.
	w = queued(t, cli, prefix+"lock", 2, func(ctx context.Context) (*lock.Hold, error) { return other.Acquire(ctx) })
	release(t, h)
	release(t, w.gets(t))
}

func TestALingeringEntryGoesWithItsTimeAndWithClose(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	k := lease.NewKeeper(cli, nil)
	defer k.Close()
	short := withOptions(t, cli, prefix+"short", lock.Options{Linger: 20 * time.Millisecond, Keeper: k})
	release(t, acquire(t, short))
	for ctx := bounded(t); count(t, cli, prefix+"short/") != 0; {
		if ctx.Err() != nil {
			t.Fatal("it lingers for ever")
		}
	}
	release(t, acquire(t, short))
	long := withOptions(t, cli, prefix+"long", lock.Options{Linger: time.Hour, Keeper: k})
	release(t, acquire(t, long))
	if n := count(t, cli, prefix+"long/"); n != 1 {
		t.Errorf("%d entries, want the one that lingers", n)
	}
	if err := long.Close(); err != nil {
		t.Fatal(err)
	}
	if n := count(t, cli, prefix+"long/"); n != 0 {
		t.Errorf("%d entries after Close, want none", n)
	}
}

func TestALingeringEntryWhoseLeaseEndedIsNotTaken(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	m := withOptions(t, cli, prefix+"lock", lock.Options{Linger: time.Hour, TTL: 2 * time.Second})
	h := acquire(t, m)
	release(t, h)
	resp, err := cli.Get(bounded(t), h.Key())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cli.Revoke(bounded(t), clientv3.LeaseID(resp.Kvs[0].Lease)); err != nil {
		t.Fatal(err)
	}
	for ctx := bounded(t); ; {
		again := acquire(t, m)
		if again.Token() > h.Token() {
			release(t, again)
			return
		}
		if err := again.Release(bounded(t)); err != nil && !errors.Is(err, lock.ErrLost) { // told of it while it held
			t.Fatal(err)
		}
		if ctx.Err() != nil {
			t.Fatal("the entry of a lease that was revoked is held again and again")
		}
		<-time.After(time.Millisecond)
	}
}

func TestAProcessThatIsStartedAgainResumesItsHold(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	name := prefix + "lock"
	// The first process is one that is cut off for good: its lease ends unless another client renews it.
	gate := etcdtest.NewGate(t, strings.TrimPrefix(cli.Endpoints()[0], "http://"))
	gone, err := clientv3.New(clientv3.Config{Endpoints: []string{gate.Addr()}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	k := lease.NewKeeper(gone, &lease.Options{TTL: 5 * time.Second})
	first, other := lock.New(gone, name, &lock.Options{Keeper: k}), lock.New(gone, prefix+"other", &lock.Options{Keeper: k})
	was := acquire(t, first)
	acquire(t, other)
	saved := was.ResumeToken()
	gate.SetTarget("")
	t.Cleanup(func() { gone.Close(); k.Close(); first.Close(); other.Close() })

	m, late := mutex(t, cli, name), mutex(t, cli, name)
	w := queued(t, cli, name, 2, func(ctx context.Context) (*lock.Hold, error) { return mutex(t, cli, name).Acquire(ctx) })
	h, err := m.Resume(bounded(t), saved)
	if err != nil {
		t.Fatal(err)
	}
	if h.Token() != was.Token() || h.Err() != nil {
		t.Errorf("token %d, %v, want %d and held", h.Token(), h.Err(), was.Token())
	}
	if again, err := late.Resume(bounded(t), saved); again != nil || !errors.Is(err, lock.ErrLost) || !strings.Contains(err.Error(), "resumed by") {
		t.Errorf("a second time: %v, %v, want ErrLost and the process that has it", again, err)
	}
	for ctx := bounded(t); count(t, cli, prefix+"other/") > 0; { // what else the first one had ends with its lease
		if ctx.Err() != nil {
			t.Fatal("what else the first process had does not end")
		}
	}
	w.waits(t)
	if err := h.Err(); err != nil || count(t, cli, name+"/") != 2 {
		t.Errorf("after the TTL: %v, want it held", err)
	}
	release(t, h)
	release(t, w.gets(t))
	if again, err := m.Resume(bounded(t), h.ResumeToken()); again != nil || !errors.Is(err, lock.ErrLost) {
		t.Errorf("after its release: %v, %v, want ErrLost", again, err)
	}
}

func TestWhatIsNoHandleIsRefused(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	m := mutex(t, cli, prefix+"lock")
	h := acquire(t, mutex(t, cli, prefix+"other"))
	for _, saved := range []string{"", "{", "{}", `{"key":"x","revision":1,"nonce":"n"}`, h.ResumeToken()} {
		if got, err := m.Resume(bounded(t), saved); got != nil || !errors.Is(err, lock.ErrInvalid) {
			t.Errorf("%q: %v, %v, want ErrInvalid", saved, got, err)
		}
	}
	release(t, h)
}

// Bounds: a local hand-over 5 µs, an Acquire of an entry that lingers 2 µs.
func BenchmarkWithinOneProcess(b *testing.B) {
	cli, prefix := etcdtest.New(b)
	b.Run("local", func(b *testing.B) {
		m := lock.New(cli, prefix+"local", &lock.Options{Local: lock.Local{For: time.Hour, Times: 1 << 30}, Linger: time.Hour})
		defer m.Close()
		const goroutines = 4
		var working sync.WaitGroup
		b.ReportAllocs()
		b.ResetTimer()
		for range goroutines {
			working.Go(func() {
				for range b.N / goroutines {
					h, err := m.Acquire(b.Context())
					if err != nil {
						b.Error(err)
						return
					}
					_ = h.Release(b.Context())
				}
			})
		}
		working.Wait()
	})
	b.Run("linger", func(b *testing.B) {
		m := lock.New(cli, prefix+"linger", &lock.Options{Linger: time.Hour})
		defer m.Close()
		release(b, acquire(b, m))
		b.ReportAllocs()
		for b.Loop() {
			h, err := m.Acquire(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			if err := h.Release(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	})
}

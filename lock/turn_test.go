package lock_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/lease"
	"github.com/etcdkit/etcdkit/lock"
)

// stranger puts entries of another client into a queue, as of the lease 0, which no client has.
func stranger(t testing.TB, cli *clientv3.Client, name string, n int) (leave func()) {
	t.Helper()
	for i := range n {
		if _, err := cli.Put(bounded(t), fmt.Sprintf("%s/0-%d", name, i), ""); err != nil {
			t.Fatal(err)
		}
	}
	return func() {
		if _, err := cli.Delete(bounded(t), name+"/0-", clientv3.WithPrefix()); err != nil {
			t.Error(err)
		}
	}
}

// The token is known when the entry comes, and not when its turn does: two that read have two.
func TestATokenIsTheRevisionAtWhichItsEntryCame(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	name := prefix + "lock"
	leave := stranger(t, cli, name, 1)
	m := rwmutex(t, cli, name)
	a, b := queued(t, cli, name, 2, read(m)), queued(t, cli, name, 3, read(m))
	leave()
	for _, h := range []*lock.Hold{a.gets(t), b.gets(t)} {
		resp, err := cli.Get(bounded(t), h.Key())
		if err != nil || len(resp.Kvs) != 1 || resp.Kvs[0].CreateRevision != h.Token() {
			t.Errorf("token %d, and in etcd %v, %v, want its create revision", h.Token(), resp, err)
		}
		release(t, h)
	}
}

func TestASemaphoreKnowsAllEntriesAhead(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	name := prefix + "sem"
	const size = 10
	s := semaphore(t, cli, name, size)
	var holders []*lock.Hold
	for range size {
		holders = append(holders, must(t)(s.Acquire(bounded(t))))
	}
	w := queued(t, cli, name, size+1, func(ctx context.Context) (*lock.Hold, error) { return s.Acquire(ctx) })
	w.waits(t)
	release(t, holders[0])
	release(t, w.gets(t))
}

// early has something happen just before each watch opens.
type early struct {
	clientv3.Watcher
	before func()
}

func (e early) Watch(ctx context.Context, key string, opts ...clientv3.OpOption) clientv3.WatchChan {
	e.before()
	return e.Watcher.Watch(ctx, key, opts...)
}

func TestADeletionBeforeTheWatchOpensIsNotMissed(t *testing.T) {
	for _, ahead := range []int{1, 5} { // few, whose deletions are all watched, and many, of which one is watched
		t.Run(fmt.Sprintf("behind %d", ahead), func(t *testing.T) {
			cli, prefix := etcdtest.New(t)
			name := prefix + "lock"
			cli.Watcher = early{cli.Watcher, sync.OnceFunc(stranger(t, cli, name, ahead))}
			m := mutex(t, cli, name)
			began := time.Now()
			h := acquire(t, m)
			const byItself = 5 * time.Second // it looks, should the watch be silent
			if took := time.Since(began); took > byItself-500*time.Millisecond {
				t.Errorf("held after %v, want as soon as the watch is open", took)
			}
			release(t, h)
		})
	}
}

// Its lease ends after etcd has said that it is its turn, and before that is heard.
func TestWhoseLeaseHasEndedNeverHasItsTurn(t *testing.T) {
	for _, ahead := range []int{0, 1} {
		t.Run(fmt.Sprintf("behind %d", ahead), func(t *testing.T) {
			cli, prefix := etcdtest.New(t)
			name := prefix + "lock"
			keeper := lease.NewKeeper(cli, &lease.Options{TTL: 2 * time.Second})
			defer keeper.Close()
			on, err := keeper.Lease(bounded(t))
			if err != nil {
				t.Fatal(err)
			}
			var its atomic.Bool
			its.Store(ahead == 0)
			leave := stranger(t, cli, name, ahead)
			rig(cli).meet(func(_ []clientv3.Op, commit func() (*clientv3.TxnResponse, error)) (*clientv3.TxnResponse, error) {
				said := its.Load()
				resp, err := commit()
				if said && its.CompareAndSwap(true, false) {
					_, revoked := cli.Revoke(bounded(t), on.ID())
					if ended := on.Confirm(bounded(t)); revoked != nil || !errors.Is(ended, lease.ErrRevoked) {
						t.Errorf("the lease: %v, %v, want it revoked", revoked, ended)
					}
				}
				return resp, err
			})
			m := lock.New(cli, name, &lock.Options{Keeper: keeper})
			defer m.Close()
			got := make(chan error, 1)
			go func() { // waited for below
				_, err := m.Acquire(bounded(t), clientv3.OpGet(prefix+"x"))
				got <- err
			}()
			if ahead > 0 {
				for count(t, cli, name+"/") != int64(ahead+1) {
				}
				its.Store(true)
				leave()
			}
			if err := <-got; !errors.Is(err, lock.ErrLost) {
				t.Errorf("got %v, want ErrLost", err)
			}
		})
	}
}

// Who comes again because it was not answered is where it was.
func TestAnEntryWhoseAnswerGotLostKeepsItsPlace(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	name := prefix + "lock"
	m := mutex(t, cli, name)
	r := rig(cli)
	var tried atomic.Bool // what is not answered is sent again beside itself
	r.meet(func(_ []clientv3.Op, commit func() (*clientv3.TxnResponse, error)) (*clientv3.TxnResponse, error) {
		first := tried.CompareAndSwap(false, true)
		resp, err := commit()
		if !first || err != nil {
			return resp, err
		}
		stranger(t, cli, name, 1) // behind it, and for ever
		return nil, rpctypes.ErrTimeout
	})
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	h, err := m.Acquire(ctx)
	if err != nil {
		t.Fatalf("got %v, want the lock before who came later", err)
	}
	release(t, h)
}

func TestOfTwoThatResumeAtOnceOneHasIt(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	name := prefix + "lock"
	elsewhere, _ := etcdtest.New(t)
	saved := acquire(t, mutex(t, elsewhere, name)).ResumeToken() // it takes no part any more
	one, other := mutex(t, cli, name), mutex(t, elsewhere, name)
	var h *lock.Hold
	rig(cli).meet(func(_ []clientv3.Op, commit func() (*clientv3.TxnResponse, error)) (*clientv3.TxnResponse, error) {
		if h == nil { // between its read and its write
			h = must(t)(other.Resume(bounded(t), saved))
		}
		return commit()
	})
	if again, err := one.Resume(bounded(t), saved); again != nil || !errors.Is(err, lock.ErrLost) {
		t.Errorf("the second one: %v, %v, want ErrLost", again, err)
	}
	release(t, h)
}

// A read hold that became a Mutex's would let other readers in.
func TestAHandleOfAnotherKindIsRefused(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	for kind, acquire := range map[string]func(name string) (*lock.Hold, error){
		"to read":     func(name string) (*lock.Hold, error) { return rwmutex(t, cli, name).AcquireRead(bounded(t)) },
		"a semaphore": func(name string) (*lock.Hold, error) { return semaphore(t, cli, name, 3).Acquire(bounded(t)) },
	} {
		name := prefix + kind
		h := must(t)(acquire(name))
		if got, err := mutex(t, cli, name).Resume(bounded(t), h.ResumeToken()); got != nil || !errors.Is(err, lock.ErrInvalid) {
			t.Errorf("%s: %v, %v, want ErrInvalid", kind, got, err)
		}
		release(t, h)
	}
}

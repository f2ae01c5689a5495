package lock_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/internal/means"
	"github.com/etcdkit/etcdkit/internal/queuetest"
	"github.com/etcdkit/etcdkit/lease"
	"github.com/etcdkit/etcdkit/lock"
)

// kindsOfHolds are all ways to hold a lock of a name.
var kindsOfHolds = []struct {
	name    string
	acquire func(t testing.TB, cli *clientv3.Client, name string) *lock.Hold
}{
	{"Mutex", func(t testing.TB, cli *clientv3.Client, name string) *lock.Hold {
		return acquire(t, mutex(t, cli, name))
	}},
	{"Mutex with Local", func(t testing.TB, cli *clientv3.Client, name string) *lock.Hold {
		return acquire(t, withOptions(t, cli, name, lock.Options{Local: lock.Local{For: time.Minute}}))
	}},
	{"Mutex with Linger", func(t testing.TB, cli *clientv3.Client, name string) *lock.Hold {
		return acquire(t, withOptions(t, cli, name, lock.Options{Linger: time.Minute}))
	}},
	{"Mutex that lingered", func(t testing.TB, cli *clientv3.Client, name string) *lock.Hold {
		m := withOptions(t, cli, name, lock.Options{Linger: time.Minute})
		release(t, acquire(t, m))
		return acquire(t, m)
	}},
	{"RWMutex to write", func(t testing.TB, cli *clientv3.Client, name string) *lock.Hold {
		return must(t)(rwmutex(t, cli, name).Acquire(bounded(t)))
	}},
	{"RWMutex to read", func(t testing.TB, cli *clientv3.Client, name string) *lock.Hold {
		m := rwmutex(t, cli, name)
		must(t)(m.AcquireRead(bounded(t)))
		return must(t)(m.AcquireRead(bounded(t)))
	}},
	{"Semaphore", func(t testing.TB, cli *clientv3.Client, name string) *lock.Hold {
		s := semaphore(t, cli, name, 3)
		must(t)(s.Acquire(bounded(t)))
		return must(t)(s.AcquireN(bounded(t), 2))
	}},
}

// watched returns when a hold has lasted for so long that its key is watched: then it says so in etcd.
func watched(t testing.TB, cli *clientv3.Client, h *lock.Hold) {
	t.Helper()
	for ctx := bounded(t); ; {
		resp, err := cli.Get(ctx, h.Key())
		if err != nil || len(resp.Kvs) != 1 {
			t.Fatalf("%s: %v, %v", h.Key(), resp, err)
		}
		if strings.Contains(string(resp.Kvs[0].Value), `"acquired"`) {
			return
		}
		select {
		case <-h.Done():
			t.Fatalf("it is over: %v", h.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// ways are how others end a hold.
var ways = map[string]func(t testing.TB, cli *clientv3.Client, key string){
	"deleted": func(t testing.TB, cli *clientv3.Client, key string) {
		if _, err := cli.Delete(bounded(t), key); err != nil {
			t.Error(err)
		}
	},
	"deleted and created again": func(t testing.TB, cli *clientv3.Client, key string) {
		if _, err := cli.Delete(bounded(t), key); err != nil {
			t.Error(err)
		}
		if _, err := cli.Put(bounded(t), key, "of another client"); err != nil {
			t.Error(err)
		}
	},
	"revoked": func(t testing.TB, cli *clientv3.Client, key string) {
		if _, err := cli.Revoke(bounded(t), clientv3.LeaseID(leaseOf(t, cli, key))); err != nil {
			t.Error(err)
		}
	},
}

func TestAHoldThatAnotherClientEndsIsLostAtOnce(t *testing.T) {
	t.Parallel()
	for way, end := range ways {
		for _, kind := range kindsOfHolds {
			t.Run(way+"/"+kind.name, func(t *testing.T) {
				t.Parallel()
				cli, prefix := etcdtest.New(t)
				other := another(t, cli)
				h := kind.acquire(t, cli, prefix+"lock")
				watched(t, other, h)
				end(t, other, h.Key())
				began := time.Now()
				select {
				case <-h.Done():
				case <-time.After(time.Second): // the lease goes on for longer, or is asked for less often
					t.Fatalf("not told within %v", time.Since(began))
				}
				if err := h.Err(); !errors.Is(err, lock.ErrLost) {
					t.Errorf("got %v, want ErrLost", err)
				}
				if err := h.Release(bounded(t)); !errors.Is(err, lock.ErrLost) {
					t.Errorf("Release: %v, want ErrLost", err)
				}
				resp, err := other.Get(bounded(t), h.Key())
				if err != nil || strings.HasSuffix(way, "again") && len(resp.Kvs) != 1 {
					t.Errorf("%v, %v: want the key of the other client to stay", resp, err)
				}
			})
		}
	}
}

// another is a client of its own.
func another(t testing.TB, cli *clientv3.Client) *clientv3.Client {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: cli.Endpoints(), Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// The first second needs no request; what happened in it is found out when it is over.
func TestAHoldThatIsDeletedInItsFirstSecondIsLostAfterIt(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	h := acquire(t, mutex(t, cli, prefix+"lock"))
	if _, err := cli.Delete(bounded(t), h.Key()); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	isOver(t, h)
	if took := time.Since(began); !errors.Is(h.Err(), lock.ErrLost) || took > 2500*time.Millisecond {
		t.Errorf("%v after %v, want ErrLost after a second", h.Err(), took)
	}
}

// isOver waits until the holder is told that its hold is over.
func isOver(t *testing.T, h *lock.Hold) {
	t.Helper()
	select {
	case <-h.Done():
	case <-time.After(6 * time.Second):
		t.Fatal("its holder is not told")
	}
}

// After a second etcd is asked to write since when it is held, and with that whether it is there.
func TestAHoldLearnsOfItsDeletionThoughEtcdDoesNotWriteSinceWhenItIsHeld(t *testing.T) {
	t.Parallel()
	for what, test := range map[string]struct {
		says  error
		early bool // it is deleted before
	}{
		"etcd is full, deleted before": {rpctypes.ErrNoSpace, true},
		"etcd is full, deleted after":  {rpctypes.ErrNoSpace, false},
		"no answer, deleted after":     {rpctypes.ErrTimeout, false},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			cli, prefix := etcdtest.New(t)
			r := rig(cli)
			h := acquire(t, mutex(t, cli, prefix+"lock"))
			asked := make(chan struct{}, 1)
			r.meet(func(ops []clientv3.Op, commit func() (*clientv3.TxnResponse, error)) (*clientv3.TxnResponse, error) {
				if !ops[0].IsPut() {
					return commit()
				}
				select {
				case asked <- struct{}{}:
				default:
				}
				return nil, test.says
			})
			if !test.early {
				happens(t, "etcd is asked to write", asked)
			}
			ways["deleted"](t, cli, h.Key())
			isOver(t, h)
			if err := h.Err(); !errors.Is(err, lock.ErrLost) {
				t.Errorf("got %v, want ErrLost", err)
			}
		})
	}
}

func TestDoEndsItsContextWhenTheKeyIsDeleted(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	err := mutex(t, cli, prefix+"lock").Do(bounded(t), func(ctx context.Context, h *lock.Hold) error {
		watched(t, cli, h)
		if _, err := cli.Delete(ctx, h.Key()); err != nil {
			return err
		}
		<-ctx.Done()
		if cause := context.Cause(ctx); !errors.Is(cause, lock.ErrLost) {
			t.Errorf("cause %v, want ErrLost", cause)
		}
		return nil
	})
	if !errors.Is(err, lock.ErrLost) {
		t.Errorf("got %v, want ErrLost", err)
	}
}

// A release deletes the key, too.
func TestAReleaseIsNotTakenForALoss(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	g, r := gate(cli), rig(cli)
	for _, kind := range kindsOfHolds {
		h := kind.acquire(t, cli, prefix+kind.name)
		watched(t, cli, h)
		// The watch tells of the deletion before the answer comes.
		told := func() (n int) {
			g.mu.Lock()
			defer g.mu.Unlock()
			for _, events := range g.told {
				n += events
			}
			return n
		}
		before := told()
		r.meet(func(ops []clientv3.Op, commit func() (*clientv3.TxnResponse, error)) (*clientv3.TxnResponse, error) {
			resp, err := commit()
			for ctx := bounded(t); ops[0].IsDelete() && told() == before && ctx.Err() == nil; {
				<-time.After(time.Millisecond)
			}
			select {
			case <-h.Done():
			case <-time.After(200 * time.Millisecond):
			}
			return resp, err
		})
		err := h.Release(bounded(t))
		r.meet(nil)
		if err != nil || !errors.Is(h.Err(), lock.ErrReleased) {
			t.Errorf("%s: %v, %v, want ErrReleased", kind.name, err, h.Err())
		}
	}
}

func TestAWaiterWhoseEntryIsDeletedIsLostAtOnce(t *testing.T) {
	t.Parallel()
	for what, ahead := range map[string]int{"next": 1, "far from its turn": 6} {
		t.Run(what, func(t *testing.T) {
			cli, prefix := etcdtest.New(t)
			name := prefix + "lock"
			stranger(t, cli, name, ahead)
			m := mutex(t, cli, name)
			w := queued(t, cli, name, int64(ahead+1), func(ctx context.Context) (*lock.Hold, error) { return m.Acquire(ctx) })
			<-time.After(1500 * time.Millisecond) // then it watches its own key; nothing tells
			resp, err := cli.Get(bounded(t), name+"/", clientv3.WithLastCreate()...)
			if err != nil {
				t.Fatal(err)
			}
			key := string(resp.Kvs[0].Key)
			ways["deleted and created again"](t, cli, key)
			select {
			case err := <-w.err:
				if !errors.Is(err, lock.ErrLost) {
					t.Errorf("got %v, want ErrLost", err)
				}
			case <-time.After(time.Second):
				t.Fatal("it was not told")
			}
			if err := m.Close(); err != nil { // waits for what it removes
				t.Error(err)
			}
			if n := count(t, cli, key); n != 1 {
				t.Error("it removed a key of another client")
			}
		})
	}
}

func TestALossIsKnownWithinTwoPuts(t *testing.T) {
	if means.Race {
		t.Skip("a figure")
	}
	cli, prefix := etcdtest.New(t)
	other := another(t, cli)
	losses := make(map[string][]queuetest.Held) // by way and kind
	var mu sync.Mutex
	var done sync.WaitGroup
	for _, kind := range kindsOfHolds {
		if !slices.Contains([]string{"Mutex", "RWMutex to read", "Semaphore"}, kind.name) {
			continue
		}
		for _, way := range []string{"deleted", "revoked"} {
			what := way + " " + kind.name
			for i := range queuetest.MeasureHolds {
				h := kind.acquire(t, cli, fmt.Sprint(prefix, what, i))
				on := clientv3.LeaseID(leaseOf(t, other, h.Key()))
				done.Go(func() {
					watched(t, other, h)
					mu.Lock()
					defer mu.Unlock()
					losses[what] = append(losses[what], queuetest.Held{Key: h.Key(), Lease: on, Done: h.Done()})
				})
			}
		}
	}
	done.Wait()
	for what, holds := range losses {
		t.Run(what, func(t *testing.T) {
			queuetest.ToldWithinTwoPuts(t, other, prefix, strings.HasPrefix(what, "revoked"), holds)
		})
	}
}

// The entry is gone, and another client has made a key of the same name, before the removal comes.
func TestAnEntryIsNotRemovedByItsName(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	other := another(t, cli)
	name := prefix + "lock"
	stranger(t, other, name, 1)
	created := make(chan struct{})
	rig(cli).meet(func(ops []clientv3.Op, commit func() (*clientv3.TxnResponse, error)) (*clientv3.TxnResponse, error) {
		if ops[0].IsDelete() {
			<-created
		}
		return commit()
	})
	keeper := lease.NewKeeper(cli, nil)
	t.Cleanup(func() { keeper.Close() })
	m := lock.New(cli, name, &lock.Options{Keeper: keeper})
	w := queued(t, other, name, 2, func(ctx context.Context) (*lock.Hold, error) { return m.Acquire(ctx) })
	resp, err := other.Get(bounded(t), name+"/", clientv3.WithLastCreate()...)
	if err != nil {
		t.Fatal(err)
	}
	key := string(resp.Kvs[0].Key)
	w.stop()
	<-w.err
	ways["deleted and created again"](t, other, key)
	close(created)
	if err := m.Close(); err != nil { // waits for what it removes
		t.Error(err)
	}
	if n := count(t, other, key); n != 1 {
		t.Error("it removed a key of another client")
	}
}

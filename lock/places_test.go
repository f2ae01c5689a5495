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
	"github.com/etcdkit/etcdkit/lock"
)

// gates is a Watcher whose watches open, and tell what happens, when the test lets them.
type gates struct {
	clientv3.Watcher

	mu      sync.Mutex
	shut    map[string]bool // watches of these keys do not open
	allShut bool            // none does
	muted   map[string]bool // watches of these keys do not tell what happens
	told    map[string]int  // how much happened that watches of a key have told

	// Of the watches since all were ended.
	end     chan struct{}   // closed to end them
	waiting map[string]bool // keys with one that does not open yet
	open    map[string]bool // keys with one that is open
}

// gate returns the Watcher that the client has from now on.
func gate(cli *clientv3.Client) *gates {
	g := &gates{Watcher: cli.Watcher, shut: make(map[string]bool), muted: make(map[string]bool), told: make(map[string]int)}
	g.begin()
	cli.Watcher = g
	return g
}

func (g *gates) begin() {
	g.end, g.waiting, g.open = make(chan struct{}), make(map[string]bool), make(map[string]bool)
}

// set changes what the gates do.
func (g *gates) set(change func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	change()
}

// restart ends all watches, and lets none open again. It returns when n keys are to be watched again: that
// may take more than once, as a waiter that hears of one end does not know of the next.
func (g *gates) restart(t *testing.T, n int) {
	t.Helper()
	for ctx := bounded(t); ctx.Err() == nil; {
		g.set(func() {
			close(g.end)
			g.begin()
			g.allShut = true
		})
		for range 200 {
			<-time.After(time.Millisecond)
			g.mu.Lock()
			waiting := len(g.waiting)
			g.mu.Unlock()
			if waiting == n {
				<-time.After(100 * time.Millisecond) // those that pause wait for watches of others, then
				return
			}
		}
	}
	t.Fatalf("void: %v are watched again, want %d keys", g.waiting, n)
}

// until waits for a state of the gates.
func (g *gates) until(t *testing.T, what string, reached func() bool) {
	t.Helper()
	for ctx := bounded(t); ; {
		g.mu.Lock()
		done := reached()
		g.mu.Unlock()
		if done {
			return
		}
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("void: it does not happen that %s", what)
		}
	}
}

// heard is of how many events the watch of a key, or of a prefix, has told.
func (g *gates) heard(key string) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.told[key]
}

// pass returns once free, false when the watch is over before.
func (g *gates) pass(ctx context.Context, end <-chan struct{}, free func() bool) bool {
	for {
		g.mu.Lock()
		done := free()
		g.mu.Unlock()
		if done {
			return true
		}
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			return false
		case <-end:
			return false
		}
	}
}

func (g *gates) Watch(ctx context.Context, key string, opts ...clientv3.OpOption) clientv3.WatchChan {
	to := make(chan clientv3.WatchResponse)
	g.mu.Lock()
	end, waiting, open := g.end, g.waiting, g.open
	waiting[key] = true
	g.mu.Unlock()
	go func() { // ends with the watch
		defer close(to)
		opens := g.pass(ctx, end, func() bool { return !g.allShut && !g.shut[key] })
		g.set(func() { delete(waiting, key) })
		if !opens {
			return
		}
		send := func(r clientv3.WatchResponse) bool {
			select {
			case to <- r:
				return true
			case <-ctx.Done():
			case <-end:
			}
			return false
		}
		for from := g.Watcher.Watch(ctx, key, opts...); ; {
			select {
			case r, ok := <-from:
				happened := len(r.Events) > 0
				if !ok || happened && !g.pass(ctx, end, func() bool { return !g.muted[key] }) || !send(r) {
					return
				}
				// The one that listens takes another message when it has dealt with the first.
				if !send(clientv3.WatchResponse{}) {
					return
				}
				g.set(func() {
					open[key] = open[key] || r.Created
					g.told[key] += len(r.Events)
				})
			case <-end:
				return
			}
		}
	}()
	return to
}

// late has the first read that begins with a key answered when the test says so, as things were when it
// was asked.
func (r *rigged) late(t *testing.T, key string) (asked <-chan struct{}, answer func()) {
	came, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	r.meet(func(ops []clientv3.Op, commit func() (*clientv3.TxnResponse, error)) (*clientv3.TxnResponse, error) {
		if !ops[0].IsGet() || string(ops[0].KeyBytes()) != key {
			return commit()
		}
		resp, err := (*clientv3.TxnResponse)(nil), rpctypes.ErrTimeout // of a try beside the first
		once.Do(func() {
			resp, err = commit()
			close(came)
		})
		<-goOn
		return resp, err
	})
	answer = sync.OnceFunc(func() {
		r.meet(nil)
		close(goOn)
	})
	t.Cleanup(answer)
	return came, answer
}

// happens waits for what a test has made happen.
func happens[T any](t *testing.T, what string, c <-chan T) (got T) {
	t.Helper()
	select {
	case got = <-c:
	case <-bounded(t).Done():
		t.Fatalf("void: it does not happen that %s", what)
	}
	return got
}

// newest is the key of the entry that came last.
func newest(t *testing.T, cli *clientv3.Client, name string) string {
	t.Helper()
	resp, err := cli.Get(bounded(t), name+"/", clientv3.WithLastCreate()...)
	if err != nil || len(resp.Kvs) == 0 {
		t.Fatalf("%v, %v, want the newest entry", resp, err)
	}
	return string(resp.Kvs[0].Key)
}

// writers are n waiters of one client behind others, each with an entry of its own, that have waited
// for so long that they watch their own keys, too.
func writers(t *testing.T, cli, other *clientv3.Client, name string, g *gates, n int) (all []*waiter, keys []string) {
	t.Helper()
	before, m := count(t, other, name+"/"), rwmutex(t, cli, name)
	for i := range n {
		all = append(all, queued(t, other, name, before+int64(i+1), write(m)))
		keys = append(keys, newest(t, other, name))
	}
	g.until(t, "all watch their own keys", func() bool {
		for _, key := range keys {
			if !g.open[key] {
				return false
			}
		}
		return true
	})
	<-time.After(100 * time.Millisecond) // only of the last one it is known: the others' keys are watched by those behind, too
	return all, keys
}

// isLost waits until a waiter is told that its entry is gone.
func (w *waiter) isLost(t *testing.T) {
	t.Helper()
	select {
	case err := <-w.err:
		if !errors.Is(err, lock.ErrLost) {
			t.Fatalf("got %v, want ErrLost", err)
		}
	case h := <-w.held:
		t.Fatalf("%s, which was deleted, is held", h.Key())
	case <-bounded(t).Done():
		t.Fatal("it is not told that it was deleted")
	}
}

// All watches of a client end, and are opened again. Before those of the last waiter are open, another
// one reads the queue for all: then the last has another one before it, whose watch is not open.
func TestAWaiterThatIsPlacedAgainBeforeItsWatchesOpenMissesNothing(t *testing.T) {
	t.Parallel()
	shared, prefix := etcdtest.New(t)
	name := prefix + "lock"
	cli := another(t, shared)
	g := gate(cli)
	leave := stranger(t, shared, name, 4)
	const n = 9 // more than read each for itself
	all, keys := writers(t, cli, shared, name, g, n)
	const early, before, deleted, last = 1, n - 3, n - 2, n - 1
	g.restart(t, n+1)
	for _, i := range []int{early, deleted} {
		ways["deleted"](t, shared, keys[i])
	}
	g.set(func() { // the watch that the last one needs no more opens first
		for _, key := range keys {
			g.shut[key] = key != keys[deleted]
		}
		g.shut[name+"/0-3"] = true
		g.allShut = false
	})
	g.until(t, "it opens", func() bool { return g.open[keys[deleted]] })
	g.set(func() {
		clear(g.shut)
		g.shut[keys[before]], g.shut[keys[last]] = true, true
	})
	all[early].isLost(t) // the queue was read
	g.set(func() { delete(g.shut, keys[last]) })
	g.until(t, "the last one's watches are open", func() bool { return g.open[keys[last]] })
	ways["deleted"](t, shared, keys[before])
	g.set(func() { clear(g.shut) })
	all[before].isLost(t)
	all[deleted].isLost(t)
	leave()
	for i, w := range all {
		if i != early && i != before && i != deleted {
			release(t, w.gets(t))
		}
	}
}

// The one before a waiter is deleted, and then it is heard that one ahead of both was deleted earlier.
func TestAWaiterThatTakesOverAPlaceLearnsOfEarlierDeletions(t *testing.T) {
	t.Parallel()
	shared, prefix := etcdtest.New(t)
	name := prefix + "lock"
	cli := another(t, shared)
	g := gate(cli)
	leave := stranger(t, shared, name, 6)
	all, keys := writers(t, cli, shared, name, g, 2)
	newestAhead := name + "/0-5"
	g.set(func() { g.muted[newestAhead] = true })
	ways["deleted"](t, shared, newestAhead)
	ways["deleted"](t, shared, keys[0])
	all[0].isLost(t) // and the other has its place
	g.set(func() { clear(g.muted) })
	leave()
	release(t, all[1].gets(t))
}

// While a waiter reads whether the one before it is there, that is deleted. What was read is not of the
// one that is before it then.
func TestAWaiterThatTakesOverAPlaceWhileItReadsLearnsOfEarlierDeletions(t *testing.T) {
	t.Parallel()
	shared, prefix := etcdtest.New(t)
	name := prefix + "lock"
	cli := another(t, shared)
	g, r := gate(cli), rig(cli)
	leave := stranger(t, shared, name, 4)
	all, keys := writers(t, cli, shared, name, g, 3)
	const first, before, last = 0, 1, 2
	g.restart(t, 4)
	g.set(func() { g.allShut, g.shut[keys[last]], g.muted[keys[first]] = false, true, true })
	g.until(t, "all but the last have their watches", func() bool { return len(g.waiting) == 1 && len(g.open) == 3 })
	ways["deleted"](t, shared, keys[first])
	asked, answer := r.late(t, keys[last])
	g.set(func() { clear(g.shut) })
	happens(t, "it reads", asked)
	ways["deleted"](t, shared, keys[before])
	all[before].isLost(t) // and the last has its place
	answer()
	<-time.After(500 * time.Millisecond) // it listens again
	g.set(func() { clear(g.muted) })
	all[first].isLost(t)
	leave()
	release(t, all[last].gets(t))
}

// It reads what it wants, as its turn has come, and before the answer its entry is deleted.
func TestAWaiterThatHearsOfItsDeletionWhileItReadsIsLost(t *testing.T) {
	shared, prefix := etcdtest.New(t)
	name := prefix + "lock"
	cli := another(t, shared)
	g, r := gate(cli), rig(cli)
	leave := stranger(t, shared, name, 1)
	m := mutex(t, cli, name)
	w := queued(t, shared, name, 2, func(ctx context.Context) (*lock.Hold, error) { return m.Acquire(ctx, clientv3.OpGet(prefix+"x")) })
	key := newest(t, shared, name)
	g.until(t, "it listens", func() bool { return g.open[name+"/"] })
	asked, answer := r.late(t, key)
	leave()
	happens(t, "it reads", asked)
	ways["deleted"](t, shared, key)
	g.until(t, "its deletion is heard", func() bool { return g.told[name+"/"] == 2 })
	answer()
	w.isLost(t)
}

package keys_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/client"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/keys"
)

// following is a Follow that runs.
type following struct {
	t    testing.TB
	stop context.CancelFunc
	done chan struct{}
	err  error

	mu      sync.Mutex
	now     keys.Progress
	waited  int // how often it has waited
	changed chan struct{}
}

func follow(t testing.TB, src *clientv3.Client, srcPrefix string, dst *clientv3.Client, dstPrefix string, opts keys.FollowOptions) *following {
	f := &following{t: t, done: make(chan struct{}), changed: make(chan struct{}, 1)}
	ctx, stop := context.WithCancel(t.Context())
	f.stop = stop
	opts.Progress = func(p keys.Progress) {
		f.mu.Lock()
		if p.Waiting != nil {
			f.waited++
		}
		f.now = p
		f.mu.Unlock()
		select {
		case f.changed <- struct{}{}:
		default:
		}
	}
	go func() { // ends with stop
		defer close(f.done)
		_, f.err = keys.Follow(ctx, src, srcPrefix, dst, dstPrefix, &opts)
	}()
	t.Cleanup(f.end)
	return f
}

func (f *following) end() {
	f.stop()
	<-f.done
}

// until waits for progress.
func (f *following) until(what string, ok func(p keys.Progress, waited int) bool) {
	f.t.Helper()
	timeout := within(f.t, generous)
	for {
		f.mu.Lock()
		now, waited := f.now, f.waited
		f.mu.Unlock()
		if ok(now, waited) {
			return
		}
		select {
		case <-f.changed:
		case <-f.done:
			f.t.Fatalf("%s: it has ended: %v", what, f.err)
		case <-timeout.Done():
			f.t.Fatalf("%s: it is at %+v", what, now)
		}
	}
}

func (f *following) at(revision int64) {
	f.t.Helper()
	f.until(fmt.Sprint("revision ", revision), func(p keys.Progress, _ int) bool { return p.Following && p.Revision >= revision })
}

func TestAFollowerMakesEveryChange(t *testing.T) {
	src, prefix := etcdtest.New(t)
	dst := etcdtest.Client(t, etcdtest.NewCluster(t, oneMember()))
	fillRandom(t, src, prefix, 300)
	put(t, dst, "copy/only here", "1")
	f := follow(t, src, prefix, dst, "copy/", keys.FollowOptions{Delete: true})
	var writing sync.WaitGroup
	for w := range 4 {
		writing.Go(func() {
			for i := range 150 {
				key := fmt.Sprintf("%sw%d/%d", prefix, w, i%20)
				if i%7 == 3 {
					del(t, src, key)
				} else {
					put(t, src, key, fmt.Sprint(i))
				}
			}
		})
	}
	writing.Wait()
	f.at(put(t, src, prefix+"last", "1"))
	wantHeld(t, "the copy", held(t, dst, "copy/"), held(t, src, prefix))
	f.end()
	if !errors.Is(f.err, context.Canceled) {
		t.Errorf("it ended with %v, want context.Canceled", f.err)
	}
	// Again: only what differs.
	put(t, src, prefix+"later", "1")
	del(t, src, prefix+"last")
	f = follow(t, src, prefix, dst, "copy/", keys.FollowOptions{Delete: true})
	f.at(put(t, src, prefix+"last of all", "1"))
	wantHeld(t, "the copy that went on", held(t, dst, "copy/"), held(t, src, prefix))
	f.until("a copy that went on", func(p keys.Progress, _ int) bool { return p.Same > 100 && p.Deleted == 1 })
}

func TestACopiedLeaseLivesAsLongAsTheSources(t *testing.T) {
	t.Parallel()
	src, prefix := etcdtest.New(t)
	dst := etcdtest.Client(t, etcdtest.NewCluster(t, oneMember()))
	lease, other := grant(t, src, 3), grant(t, src, 9)
	if _, err := src.KeepAlive(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	alive, stop := context.WithCancel(t.Context())
	defer stop()
	renewals, err := src.KeepAlive(alive, lease)
	if err != nil {
		t.Fatal(err)
	}
	put(t, src, prefix+"a", "1", clientv3.WithLease(lease))
	f := follow(t, src, prefix, dst, "copy/", keys.FollowOptions{})
	f.at(put(t, src, prefix+"b", "1", clientv3.WithLease(lease)))
	copied, err := dst.Get(within(t, generous), "copy/a")
	if err != nil || copied.Kvs[0].Lease == 0 {
		t.Fatalf("got %v, %v, want a key on a lease", copied, err)
	}
	// For longer than its TTL, while the source's is renewed.
	for n := 0; n < 6; n++ {
		if _, ok := <-renewals; !ok {
			t.Fatal("the source's lease was not renewed")
		}
	}
	wantHeld(t, "renewed", held(t, dst, "copy/"), map[string]string{"a": "1 on 3", "b": "1 on 3"})
	// A key moves to another lease.
	f.at(put(t, src, prefix+"b", "1", clientv3.WithLease(other)))
	wantHeld(t, "moved", held(t, dst, "copy/"), map[string]string{"a": "1 on 3", "b": "1 on 9"})
	// The source's lease ends.
	stop()
	f.until("the end of the lease", func(p keys.Progress, _ int) bool { return p.Deleted == 1 })
	f.at(put(t, src, prefix+"c", "1")) // then what follows from the end is done, too
	wantHeld(t, "ended", held(t, dst, "copy/"), map[string]string{"b": "1 on 9", "c": "1"})
	left, err := dst.Leases(within(t, generous))
	if err != nil || len(left.Leases) != 1 {
		t.Fatalf("got leases %v, %v, want one: the other is revoked", left.Leases, err)
	}
	// The copy's lease ends, and the source's does not: its next keepalive tells.
	if _, err := dst.Revoke(within(t, generous), left.Leases[0].ID); err != nil {
		t.Fatal(err)
	}
	f.until("another lease", func(p keys.Progress, _ int) bool { return p.Created == 4 })
	wantHeld(t, "granted again", held(t, dst, "copy/"), map[string]string{"b": "1 on 9", "c": "1"})
}

func TestAFollowerFindsWhatHappenedWhileTheSourceWasAway(t *testing.T) {
	t.Parallel()
	src := etcdtest.Client(t, etcdtest.NewCluster(t, oneMember()))
	dst, prefix := etcdtest.New(t)
	gate := etcdtest.NewGate(t, src.Endpoints()[0])
	gated, err := client.Dial(within(t, generous), &client.Options{Endpoints: []string{gate.Addr()}})
	if err != nil {
		t.Fatal(err)
	}
	defer gated.Close()
	for i := range 20 {
		put(t, src, fmt.Sprintf("a/%02d", i), "1")
	}
	f := follow(t, gated, "a/", dst, prefix, keys.FollowOptions{})
	f.at(1)
	gate.Freeze()
	del(t, src, "a/03")
	put(t, src, "a/04", "2")
	last := put(t, src, "a/new", "1")
	if _, err := src.Compact(within(t, generous), last); err != nil {
		t.Fatal(err)
	}
	f.until("a source that is away", func(p keys.Progress, waited int) bool { return p.Waiting != nil })
	gate.Unfreeze()
	f.at(last)
	f.until("the source is back", func(p keys.Progress, _ int) bool { return p.Waiting == nil })
	wantHeld(t, "the copy", held(t, dst, prefix), held(t, src, "a/"))
}

func TestAFollowerWaitsForItsDestination(t *testing.T) {
	t.Parallel()
	src, prefix := etcdtest.New(t)
	direct := etcdtest.Client(t, etcdtest.NewCluster(t, oneMember()))
	gate := etcdtest.NewGate(t, direct.Endpoints()[0])
	dst, err := client.Dial(within(t, generous), &client.Options{Endpoints: []string{gate.Addr()}})
	if err != nil {
		t.Fatal(err)
	}
	defer dst.Close()
	f := follow(t, src, prefix, dst, "copy/", keys.FollowOptions{})
	f.at(put(t, src, prefix+"a", "1"))
	gate.Freeze()
	put(t, src, prefix+"a", "2")
	f.until("a destination that is away", func(p keys.Progress, _ int) bool { return p.Waiting != nil })
	del(t, src, prefix+"a")
	last := put(t, src, prefix+"b", "1")
	gate.Unfreeze()
	f.at(last)
	wantHeld(t, "the copy", held(t, direct, "copy/"), map[string]string{"b": "1"})
}

func TestAFollowerEndsWhenTheSourcesHistoryIsReplaced(t *testing.T) {
	first := etcdtest.Client(t, etcdtest.NewCluster(t, oneMember()))
	second := etcdtest.Client(t, etcdtest.NewCluster(t, oneMember()))
	dst, prefix := etcdtest.New(t)
	gate := etcdtest.NewGate(t, first.Endpoints()[0])
	src, err := client.Dial(within(t, generous), &client.Options{Endpoints: []string{gate.Addr()}})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	f := follow(t, src, "a/", dst, prefix, keys.FollowOptions{})
	f.at(put(t, first, "a/1", "1"))
	gate.SetTarget(second.Endpoints()[0])
	gate.Freeze()
	gate.Unfreeze()
	select {
	case <-f.done:
	case <-within(t, generous).Done():
		t.Fatal("it goes on")
	}
	if !errors.Is(f.err, keys.ErrReplaced) {
		t.Errorf("got %v, want ErrReplaced", f.err)
	}
	if got := held(t, dst, prefix); !maps.Equal(got, map[string]string{"1": "1"}) {
		t.Errorf("the destination has %q, want what was there", got)
	}
}

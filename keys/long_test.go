//go:build long

package keys_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/keys"
)

// TestALevelOfAMillionKeys measures it, and holds the number of requests.
func TestALevelOfAMillionKeys(t *testing.T) {
	cli := etcdtest.Client(t, etcdtest.NewCluster(t, oneMember()))
	p := "million/"
	var writers sync.WaitGroup
	began := time.Now()
	for part := range slices.Chunk(tenFolders(p, 1_000_000), 62_500) {
		writers.Go(func() { putAll(t, cli, part...) })
	}
	writers.Wait()
	t.Logf("wrote 1,000,000 keys in %v", time.Since(began).Round(time.Second))

	var requests atomic.Int64
	counted := counting(t, cli, &requests)
	level(t, counted, p+"none/", nil) // connects
	for _, c := range []struct {
		how  string
		most int64
	}{{"streamed", 25}, {"unary", 25}} {
		cli := counted
		if c.how == "unary" {
			cli = unary(counted)
		}
		for range 3 {
			requests.Store(0)
			began := time.Now()
			got := level(t, cli, p, nil)
			took := time.Since(began)
			t.Logf("%s: %d requests, %v", c.how, requests.Load(), took.Round(time.Millisecond/10))
			if !slices.Equal(got, tenNames) {
				t.Errorf("%s: got %q, want %q", c.how, got, tenNames)
			}
			if requests.Load() > c.most {
				t.Errorf("%s: got %d requests, want %d at most", c.how, requests.Load(), c.most)
			}
		}
	}
	requests.Store(0)
	began = time.Now()
	got := level(t, counted, p+"3/", nil)
	t.Logf("a level of %d keys: %d requests, %v", len(got), requests.Load(), time.Since(began).Round(time.Millisecond))
	if len(got) != 100_000 {
		t.Errorf("got %d keys in a folder, want 100,000", len(got))
	}
	searchAmongAll(t, cli)
	began = time.Now()
	if resp, err := cli.Get(within(t, generous), p, clientv3.WithPrefix(), clientv3.WithKeysOnly()); err != nil || len(resp.Kvs) != 1_000_000 {
		t.Fatalf("all keys: %v", err)
	}
	t.Logf("for comparison, all keys with one Get: %v", time.Since(began).Round(time.Millisecond))
}

// searchAmongAll measures what the search for a deletion costs among all changes, and how long it holds up a write.
func searchAmongAll(t *testing.T, cli *clientv3.Client) {
	t.Helper()
	put(t, cli, "deleted", "x")
	del(t, cli, "deleted")
	done := make(chan time.Duration)
	go func() { // ends with the search
		began := time.Now()
		if _, h := history(t, cli, "never", &keys.HistoryOptions{Search: 1_000_000}); h.Exists || len(h.Gaps) != 0 {
			t.Errorf("got %+v, want no trace of the key, and no gap", h)
		}
		done <- time.Since(began)
	}()
	longest := time.Duration(0)
	for {
		select {
		case took := <-done:
			t.Logf("a search through a million changes: %v; the longest put meanwhile: %v", took.Round(time.Millisecond), longest.Round(time.Millisecond))
			return
		default:
		}
		began := time.Now()
		put(t, cli, "meanwhile", "")
		longest = max(longest, time.Since(began))
	}
}

// A member that has a leader and never comes to the revision, as one that is restored from a backup would be.
func TestASearchEndsWhenAMemberStandsStill(t *testing.T) {
	cli := etcdtest.Client(t, etcdtest.NewCluster(t, oneMember()))
	behind := etcdtest.NewCluster(t, oneMember())
	put(t, cli, "k", "1")
	pass(t, cli, "", 100)
	del(t, cli, "k")
	began := time.Now()
	h, err := keys.ReadHistory(within(t, 4*generous), watchElsewhere(t, cli.Endpoints()[0], behind.Endpoints()[0], 1000), "k", nil)
	if err == nil || !strings.Contains(err.Error(), "no answer within 1m0s") {
		t.Errorf("got %+v, %v after %v, want that there was no answer for a minute", h, err, time.Since(began))
	}
}

func TestFollowWaitsWhileItsDestinationStandsStillAtTheStart(t *testing.T) {
	src, from := etcdtest.New(t)
	dst, to := etcdtest.New(t)
	put(t, src, from+"a", "1")
	put(t, dst, to+"other", "1")
	gate := etcdtest.NewGate(t, strings.TrimPrefix(dst.Endpoints()[0], "http://"))
	gate.Freeze()
	behind, err := clientv3.New(clientv3.Config{Endpoints: []string{gate.Addr()}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer behind.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	followed := make(chan error, 1)
	go func() { // ends with ctx
		_, err := keys.Follow(ctx, src, from, behind, to, &keys.FollowOptions{Delete: true})
		followed <- err
	}()
	select {
	case err := <-followed:
		t.Fatalf("it gave up: %v", err)
	case <-time.After(50 * time.Second): // a Copy ends 30 s after its first try, which takes 15 s
	}
	gate.Unfreeze()
	for {
		resp, err := dst.Get(within(t, generous), to, clientv3.WithPrefix())
		if err != nil {
			t.Fatal(err)
		}
		if len(resp.Kvs) == 1 && string(resp.Kvs[0].Key) == to+"a" {
			break
		}
		select {
		case err := <-followed:
			t.Fatalf("it gave up: %v", err)
		case <-time.After(50 * time.Millisecond):
		}
	}
	cancel()
	if err := <-followed; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the end of ctx", err)
	}
}

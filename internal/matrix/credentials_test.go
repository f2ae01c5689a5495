package matrix_test

import (
	"context"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/etcdtest"
)

// Each row has a client of its own, which nothing else keeps in use: each use begins a token's time again.
// What writes is silent for longer than a token lives until it keeps its lease alive; what reads asks more
// often, so that all are cut off for a while, too.
func TestTokensThatExpireAreRenewed(t *testing.T) {
	t.Parallel()
	const ttl = 8 * tokenTTL // a third of it is between two keepalives
	c := etcdtest.NewCluster(t, &cluster.Options{Members: 1, AuthTokenTTL: tokenTTL})
	root := etcdtest.EnableAuth(t, c)
	etcdtest.User(t, c, root, "amy", "matrix")
	tb, gates := gated(t, &shortTokens, at{endpoints: c.Endpoints(), other: root, prefix: "matrix", ttl: ttl, user: "amy"})
	keys := tb.keys(t)
	logins := tb.traffics(func(tr *traffic) int64 { return tr.logins.Load() })
	requests, began := tb.traffics(func(tr *traffic) int64 { return tr.requests.Load() }), time.Now()
	wait := func(d time.Duration) { // while root, which reads the keys, keeps its own token
		for end := time.Now().Add(d); time.Now().Before(end); <-time.After(500 * ms) {
			if _, err := root.Get(bounded(t), "matrix"); err != nil {
				t.Fatal(err)
			}
		}
	}
	wait(ttl/3 + 2*time.Second)
	for _, g := range gates {
		g.Freeze()
	}
	wait(tokenTTL + 2*time.Second) // etcd looks for tokens that have expired each second
	for _, g := range gates {
		g.Unfreeze()
	}
	// All clients fetch tokens now, for each request and stream that was silent, and etcd checks some
	// 200 passwords: seconds of a small machine under the race detector. What a call takes is another
	// matter. The Keeper alone makes no request but its own.
	ctx := bounded(t)
	var fetching sync.WaitGroup
	for _, w := range tb.handles {
		if w.handle != nil && w.row.name != keeper[0] {
			fetching.Go(func() {
				if _, err := w.place.cli.Get(ctx, "matrix"); err != nil {
					t.Errorf("%s: Get: %v", w.row.name, err)
				}
			})
		}
	}
	fetching.Wait()
	tb.each(func(t *cell, w *watched) {
		w.staysAlive(t)
		w.keyLeft(t, keys[w], time.Now())
		for _, c := range w.calls { // one after another: the last ones end what it is
			if c.name == "Wait" {
				continue // for a revision that does not come
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			if err := c.do(ctx); err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			cancel()
		}
		rate := float64(w.traffic.requests.Load()-requests[w]) / time.Since(began).Seconds()
		n, refused := w.traffic.logins.Load()-logins[w], w.traffic.refused.Load()
		t.Logf("%.1f requests a second, %d of them in all with the password; %d with a token that had expired", rate, n, refused)
		if rate > w.p.rate {
			t.Errorf("%.1f requests a second, want %g at the most", rate, w.p.rate)
		}
		if n < 1 || refused < 1 {
			t.Errorf("void: no token has expired")
		}
		if n > 15 {
			t.Errorf("the password was sent %d times", n)
		}
	})
}

// openAs opens all rows for the user amy, on one client and one Keeper, as one process does.
func openAs(t *testing.T, s *situation, c *cluster.Cluster, root *clientv3.Client) (*table, *traffic) {
	t.Helper()
	return openShared(t, s, at{endpoints: c.Endpoints(), user: "amy", other: root, prefix: "matrix", ttl: authTTL})
}

func TestARevokedRoleIsReportedWithoutSpinning(t *testing.T) {
	t.Parallel()
	c := etcdtest.NewCluster(t, &cluster.Options{Members: 1})
	root := etcdtest.EnableAuth(t, c)
	etcdtest.User(t, c, root, "amy", "matrix")
	tb, tr := openAs(t, &roleRevoked, c, root)
	end := clientv3.GetPrefixRangeEnd("matrix")
	if _, err := root.RoleRevokePermission(bounded(t), "amy", "matrix", end); err != nil {
		t.Fatal(err)
	}
	since := time.Now()
	before := tr.requests.Load()
	const without = 11 * time.Second
	given := make(chan struct{})
	var healed time.Time
	var rate float64
	go func() { // ends when the role is given back
		defer close(given)
		<-time.After(time.Until(since.Add(without)))
		rate = float64(tr.requests.Load()-before) / time.Since(since).Seconds() / float64(len(tb.handles))
		if _, err := root.RoleGrantPermission(context.WithoutCancel(t.Context()), "amy", "matrix", end, clientv3.PermissionType(clientv3.PermReadWrite)); err != nil {
			t.Error(err)
		}
		// A change of rights ends all tokens: both clients have new ones before all rows ask.
		for _, cli := range []*clientv3.Client{root, tb.handles[0].place.cli} {
			if err := until(bounded(t), func() error { _, err := cli.Get(bounded(t), "matrix"); return err }); err != nil {
				t.Error(err)
			}
		}
		healed = time.Now()
	}()
	tb.each(func(t *cell, w *watched) {
		w.answered(t, given)
		if w.p.outcome == ends {
			w.endsAfter(t, since)
		}
		<-given
		t.Logf("%.1f requests a second for each row without the role", rate)
		if rate > w.p.rate {
			t.Errorf("%.1f requests a second for each row without the role, want %g at the most", rate, w.p.rate)
		}
		if w.p.outcome == back {
			w.worksAgain(t, healed)
		}
	})
}

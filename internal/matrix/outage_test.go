package matrix_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/etcdtest"
)

// processes starts three members that can be killed, paused and cut off.
func processes(t *testing.T, ttl time.Duration) (*cluster.Cluster, at) {
	t.Helper()
	c := etcdtest.NewCluster(t, nil)
	return c, at{endpoints: c.Endpoints(), other: etcdtest.Client(t, c), prefix: "matrix", ttl: ttl}
}

// cause carries out a fault.
func cause(t *testing.T, fault func(context.Context, string) (*cluster.Change, error), member string) {
	t.Helper()
	change, err := fault(bounded(t), member)
	if err != nil {
		t.Fatal(err)
	}
	t.Log(change)
}

// answered keeps sending requests to services until stop is closed; none may fail.
func (w *watched) answered(t tester, stop <-chan struct{}) {
	if w.answers == nil {
		return
	}
	for {
		select {
		case <-stop:
			return
		case <-time.After(100 * ms):
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		err := w.answers(ctx)
		cancel()
		if err != nil {
			t.Errorf("a request to the last list: %v", err)
			return
		}
	}
}

func TestAPausedClusterIsSurvivedOrReported(t *testing.T) {
	t.Parallel()
	c, a := processes(t, shortTTL)
	tb := open(t, &paused, a)
	keys := tb.keys(t)
	since := time.Now()
	cause(t, c.Pause, "all")
	over := make(chan struct{})
	var healed time.Time
	go func() { // ends with the pause
		defer close(over)
		<-time.After(time.Until(since.Add(pauseTime)))
		cause(t, c.Resume, "all")
		healed = time.Now()
	}()
	tb.each(func(t *cell, w *watched) {
		w.answered(t, over)
		if w.stale != nil {
			ctx, cancel := context.WithDeadline(t.Context(), since.Add(pauseTime-time.Second))
			defer cancel()
			if err := until(ctx, func() error {
				if !w.stale() {
					return errNotStale
				}
				return nil
			}); err != nil {
				t.Errorf("during the pause: %v", err)
			}
			inTime(t, "says that it is stale", time.Since(since), 5*time.Second)
		}
		if w.p.outcome == ends {
			w.endsAfter(t, since)
			<-over
			w.keyLeft(t, keys[w], healed)
			return
		}
		<-over
		w.worksAgain(t, healed)
		w.keyLeft(t, keys[w], healed)
	})
}

func TestARestartWithinTheTTLIsSurvived(t *testing.T) {
	t.Parallel()
	c, a := processes(t, outageTTL)
	tb := open(t, &restarted, a)
	keys := tb.keys(t)
	made := created(t, a.other, keys)
	cause(t, c.Kill, "all")
	down := time.Now()
	over := make(chan struct{})
	var healed time.Time
	rates := make(map[*watched]float64)
	go func() { // ends with the outage
		defer close(over)
		<-time.After(2 * time.Second) // each connection is found broken once
		before, since := tb.traffics(func(tr *traffic) int64 { return tr.dials.Load() }), time.Now()
		<-time.After(time.Until(down.Add(downTime)))
		for w, n := range tb.traffics(func(tr *traffic) int64 { return tr.dials.Load() }) {
			rates[w] = paced(n-before[w], time.Since(since))
		}
		cause(t, c.Start, "all")
		a.other.ActiveConnection().ResetConnectBackoff() // the test's own client must not be what is slow
		healed = time.Now()
	}()
	tb.each(func(t *cell, w *watched) {
		w.answered(t, over)
		<-over
		t.Logf("%.1f dials a second while all members were down", rates[w])
		if rates[w] > w.p.rate {
			t.Errorf("%.1f dials a second while all members were down, want %g at the most", rates[w], w.p.rate)
		}
		if w.p.outcome == stays {
			w.staysAlive(t)
		} else {
			w.worksAgain(t, healed)
		}
		w.keyLeft(t, keys[w], healed)
		if w.p.left == itsKey { // the same one
			resp, err := a.other.Get(bounded(t), keys[w])
			if err != nil || len(resp.Kvs) != 1 || resp.Kvs[0].CreateRevision != made[w] {
				t.Errorf("%v, %v: want its key, created at revision %d", resp, err, made[w])
			}
		}
	})
}

// created are the revisions at which the handles' keys were made.
func created(t *testing.T, cli *clientv3.Client, keys map[*watched]string) map[*watched]int64 {
	t.Helper()
	made := make(map[*watched]int64)
	for w, key := range keys {
		resp, err := cli.Get(bounded(t), key)
		if err != nil {
			t.Fatal(err)
		}
		for _, kv := range resp.Kvs {
			made[w] = kv.CreateRevision
		}
	}
	return made
}

func TestASilentFollowerDelaysNothingTTL5s(t *testing.T) {
	t.Parallel()
	oneSilentFollower(t, &silent5s, 5*time.Second, 7*time.Second)
}

func TestASilentFollowerDelaysNothingTTL60s(t *testing.T) {
	t.Parallel()
	oneSilentFollower(t, &silent60s, time.Minute, silent60sFor)
}

func TestASilentFollowerDelaysNothingTTL5m(t *testing.T) {
	t.Parallel()
	oneSilentFollower(t, &silent5m, 5*time.Minute, silent5mFor)
}

// oneSilentFollower opens all rows, silences one follower for a while, opens all rows again, and
// again with the follower paused.
func oneSilentFollower(t *testing.T, s *situation, ttl, silence time.Duration) {
	c, a := processes(t, ttl)
	name, err := c.MemberName("follower")
	if err != nil {
		t.Fatal(err)
	}
	leader, err := c.Endpoint("leader")
	if err != nil {
		t.Fatal(err)
	}
	silent, err := c.Endpoint(name)
	if err != nil {
		t.Fatal(err)
	}
	a.other, _ = connect(t, []string{leader}, "")
	// Clients that are connected to all members before: their calls go to the silent one, too.
	sets := make([]func(testing.TB) (*clientv3.Client, *traffic), 2)
	for i := range sets {
		sets[i] = connected(t, a.endpoints)
	}
	a.prefix = "before"
	tables := []*table{open(t, s, a)}
	cause(t, c.Blackhole, name)
	since := time.Now()
	a.prefix = "blackholed"
	tables = append(tables, openRows(t, s, a, sets[0]))
	tables[1].met(t, silent)
	<-time.After(time.Until(since.Add(silence))) // the time of the fault
	for _, tb := range tables {
		tb.all(func(w *watched) { w.middle = w.alive(t.Context()) })
	}
	if _, err := c.Heal(bounded(t)); err != nil {
		t.Fatal(err)
	}
	cause(t, c.Pause, name)
	a.prefix = "paused"
	tables = append(tables, openRows(t, s, a, sets[1]))
	tables[2].met(t, silent)
	for i, tb := range tables {
		t.Run([]string{"open before", "opened while it is blackholed", "opened while it is paused"}[i], func(t *testing.T) {
			tb.t = t
			tb.each(func(t *cell, w *watched) {
				if i > 0 {
					inTime(t, "opened", w.opened, w.p.within)
				}
				if w.middle != nil {
					t.Errorf("while one follower was silent: %v", w.middle)
				}
				w.staysAlive(t)
			})
		})
	}
	cause(t, c.Resume, name)
}

// met tells whether calls were sent to a member while the handles were opened. Otherwise nothing was
// tested.
func (tb *table) met(t *testing.T, endpoint string) {
	t.Helper()
	addr, n := strings.TrimPrefix(endpoint, "http://"), 0
	for _, w := range tb.handles {
		if w.traffic.sentTo(addr) > 0 {
			n++
		}
	}
	t.Logf("%d of %d rows have sent something to the silent member", n, len(tb.handles))
	if n < len(tb.handles)/4 {
		t.Fatalf("void: %d of %d rows have sent something to the silent member, want a quarter", n, len(tb.handles))
	}
}

// connected makes clients, as many as there are rows, and returns when each has a connection to each
// of the endpoints.
func connected(t *testing.T, endpoints []string) func(testing.TB) (*clientv3.Client, *traffic) {
	t.Helper()
	type pair struct {
		cli *clientv3.Client
		tr  *traffic
	}
	var all []pair
	for range rows() {
		cli, tr := connect(t, endpoints, "")
		all = append(all, pair{cli, tr})
	}
	for _, p := range all {
		if err := until(bounded(t), func() error {
			if _, err := p.cli.Get(bounded(t), "key"); err != nil {
				return err
			}
			if n := p.tr.conns.Load(); n < int64(len(endpoints)) {
				return fmt.Errorf("%d connections, want %d", n, len(endpoints))
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	return func(testing.TB) (*clientv3.Client, *traffic) {
		p := all[0]
		all = all[1:]
		p.tr.mu.Lock()
		defer p.tr.mu.Unlock()
		clear(p.tr.sent) // what is counted begins now
		return p.cli, p.tr
	}
}

package mirror_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/mirror"
)

// Compaction while disconnected.
func TestACompactionWhileDisconnectedCostsNothingButAReread(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	g := etcdtest.NewGate(t, cli.Endpoints()[0])
	put(t, cli, prefix+"stays", "1")
	put(t, cli, prefix+"changes", "1")
	put(t, cli, prefix+"goes", "1")
	log := newRecords()
	m := open(t, quickClient(t, g.Addr()), prefix, &mirror.Options{ConfirmEvery: 100 * time.Millisecond, WatchTimeout: 200 * time.Millisecond, Logger: log.logger()})
	r := read(t, m.Changes(within(t, generous), &mirror.ChangesOptions{EachTransaction: true}))
	log.wait(t, "mirror fresh", 1)

	g.SetTarget("")
	log.wait(t, "mirror stale", 1)
	if s := m.State(); s.Fresh || !errors.Is(s.Cause, mirror.ErrUnconfirmed) || s.Since != s.Confirmed {
		t.Errorf("State without a connection: got %+v, want stale since it was confirmed, with ErrUnconfirmed", s)
	}
	put(t, cli, prefix+"changes", "2")
	put(t, cli, prefix+"brief", "1")
	del(t, cli, prefix+"brief")
	del(t, cli, prefix+"goes")
	revision := put(t, cli, prefix+"changes", "3")
	if _, err := cli.Compact(t.Context(), revision); err != nil {
		t.Fatal(err)
	}
	g.SetTarget(cli.Endpoints()[0])
	b := r.batch()
	wantBatch(t, b, prefix, "~+changes=3 ~-goes")
	for _, c := range b.Changes {
		if c.Old == nil || c.Old.Value != "1" {
			t.Errorf("%q: got old %+v, want the value 1", c.Key, c.Old)
		}
	}
	wantMirror(t, m, cli, prefix)
	log.wait(t, "mirror fresh", 2)
	if s, n := m.State(), m.Stats(); n.Rereads[mirror.Compacted] != 1 || s.Epoch != 0 || !s.Fresh {
		t.Errorf("State: got %+v and %+v, want it fresh, in epoch 0, with one reread for a compaction", s, n)
	}
	put(t, cli, prefix+"goes", "2")
	wantBatch(t, r.batch(), prefix, "+goes=2")
}

func TestAReconnectWithoutCompactionLosesNoTransaction(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	g := etcdtest.NewGate(t, cli.Endpoints()[0])
	m := open(t, quickClient(t, g.Addr()), prefix, nil)
	r := read(t, m.Changes(within(t, generous), &mirror.ChangesOptions{EachTransaction: true}))
	put(t, cli, prefix+"a", "0") // the first watch is there
	r.batch()
	for round := range 5 {
		g.SetTarget("")
		for i := range 3 {
			put(t, cli, prefix+"a", fmt.Sprint(round, i))
		}
		g.SetTarget(cli.Endpoints()[0])
		for i := range 3 {
			wantBatch(t, r.batch(), prefix, "+a="+fmt.Sprint(round, i))
		}
	}
	if s := m.Stats(); s.Watches < 6 || len(s.Rereads) != 0 {
		t.Errorf("Stats: got %d watches and rereads %v, want 6 or more and none", s.Watches, s.Rereads)
	}
}

// server is the member that serves the mirror's watch.
func server(t testing.TB, c *cluster.Cluster, m *mirror.Mirror) string {
	t.Helper()
	id := m.State().MemberID
	for _, ms := range c.State().Members {
		if n, err := strconv.ParseUint(ms.ID, 16, 64); err == nil && n == id && id != 0 {
			return ms.Name
		}
	}
	t.Fatalf("no member has the id %x: %+v", id, c.State().Members)
	return ""
}

// others is a client of every member but one.
func others(t testing.TB, c *cluster.Cluster, but string) *clientv3.Client {
	t.Helper()
	var endpoints []string
	for _, name := range c.Names() {
		if name != but {
			endpoint, err := c.Endpoint(name)
			if err != nil {
				t.Fatal(err)
			}
			endpoints = append(endpoints, endpoint)
		}
	}
	return quickClient(t, endpoints...)
}

// writeOn puts numbers from another goroutine until the test or stop ends it.
func writeOn(t testing.TB, cli *clientv3.Client, key string) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ctx.Err() == nil; i++ {
			each, stop := context.WithTimeout(ctx, time.Second)
			_, _ = cli.Put(each, key, fmt.Sprint(i)) // no leader for a while
			stop()
			select {
			case <-time.After(5 * time.Millisecond): // its pace
			case <-ctx.Done():
			}
		}
	}()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return stop
}

// Whatever happens to the member that serves the watch, the mirror moves.
func TestTheMirrorLeavesABadMember(t *testing.T) {
	t.Parallel()
	const bound = 4 * time.Second // three election timeouts and a second
	for _, fault := range []struct {
		name  string
		cause func(*cluster.Cluster, context.Context, string) (*cluster.Change, error)
		mend  func(*cluster.Cluster, context.Context, string) (*cluster.Change, error)
	}{
		{"isolated", (*cluster.Cluster).Isolate, nil},
		{"blackholed", (*cluster.Cluster).Blackhole, nil},
		{"paused", (*cluster.Cluster).Pause, (*cluster.Cluster).Resume},
		{"killed", (*cluster.Cluster).Kill, (*cluster.Cluster).Start},
	} {
		t.Run(fault.name, func(t *testing.T) {
			c := etcdtest.NewCluster(t, nil)
			cli := quickClient(t, c.Endpoints()...)
			m := open(t, cli, "a/", nil)
			wait(t, m, put(t, cli, "a/0", "0"))
			for range 2 {
				bad := server(t, c, m)
				lead := c.Leader() == bad
				good := others(t, c, bad)
				stop := writeOn(t, good, "a/key")
				wait(t, m, put(t, good, "a/before", "1"))
				ctx := within(t, generous)
				// What is committed after the fault, without the bad member.
				began := time.Now()
				if _, err := fault.cause(c, ctx, bad); err != nil {
					t.Fatal(err)
				}
				served := time.Since(began)
				revision := put(t, good, "a/after", "1")
				for b, err := range m.Changes(ctx, nil) { // not Wait, which would ask
					if err != nil {
						t.Fatal(err)
					}
					if b.Snapshot.Revision() >= revision {
						break
					}
				}
				took := time.Since(began)
				t.Logf("%s (leader: %v): a leader after %v, in the mirror after %v; %d watches, %d replaced", bad, lead, served, took, m.Stats().Watches, m.Stats().Replaced)
				if took > bound+served {
					t.Errorf("%s %s: the mirror took %v to move, %v of which without a leader: want at most %v more", bad, fault.name, took, served, bound)
				}
				if got := server(t, c, m); got == bad && fault.name != "killed" {
					t.Errorf("the mirror is served by %s, which is %s", got, fault.name)
				}
				stop()
				mend := fault.mend
				if mend == nil {
					mend = func(c *cluster.Cluster, ctx context.Context, _ string) (*cluster.Change, error) { return c.Heal(ctx) }
				}
				if _, err := mend(c, ctx, bad); err != nil {
					t.Fatal(err)
				}
				wantMirror(t, m, cli, "a/")
				if s := m.Stats(); len(s.Rereads) != 0 {
					t.Errorf("rereads: got %v, want none", s.Rereads)
				}
			}
		})
	}
}

// Many transactions that come in one response, here of 100 MB, are not held together.
func TestACatchUpCostsNoMoreThanItsTransactions(t *testing.T) {
	t.Parallel()
	c := etcdtest.NewCluster(t, &cluster.Options{Members: 1})
	cli := etcdtest.Client(t, c)
	g := etcdtest.NewGate(t, c.Endpoints()[0])
	value := strings.Repeat("x", 1<<20)
	last := put(t, cli, "a/key", value)
	m := open(t, quickClient(t, g.Addr()), "a/", &mirror.Options{WatchTimeout: generous}) // however slow the machine is
	g.SetTarget("")
	for range 100 {
		last = put(t, cli, "a/key", value)
	}
	before, most := heap(), int64(0)
	g.SetTarget(c.Endpoints()[0])
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for ctx := within(t, generous); m.Snapshot().Revision() < last; {
		select {
		case <-tick.C:
			most = max(most, heap()-before)
		case <-ctx.Done():
			t.Fatalf("at revision %d, want %d", m.Snapshot().Revision(), last)
		}
	}
	t.Logf("the heap grew by %.1f MB at the most", float64(most)/1e6)
	if most > 30<<20 {
		t.Errorf("the heap grew by %d bytes for transactions of 1 MiB", most)
	}
	if s := m.Stats(); s.Transactions != 100 {
		t.Errorf("%d transactions came one by one, want 100", s.Transactions)
	}
}

// Denied at first, and later.
func TestADeniedPrefixIsReportedAndNotAskedForInALoop(t *testing.T) {
	t.Parallel()
	c := etcdtest.NewCluster(t, &cluster.Options{Members: 1, InProcess: true})
	root := etcdtest.EnableAuth(t, c)
	ctx := within(t, generous)
	var asked atomic.Int64
	amy := etcdtest.User(t, c, root, "amy", "a/",
		grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			asked.Add(1)
			return invoke(ctx, method, req, reply, cc, opts...)
		}),
		grpc.WithChainStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
			asked.Add(1)
			return open(ctx, desc, cc, method, opts...)
		}))
	put(t, root, "a/key", "1")
	for what, test := range map[string]struct {
		cli    *clientv3.Client
		prefix string
	}{
		"another prefix":     {amy, "b/"},
		"the whole keyspace": {amy, ""},
		"no user":            {etcdtest.Client(t, c), "a/"},
	} {
		if _, err := mirror.Open(ctx, test.cli, test.prefix, nil); !errors.Is(err, mirror.ErrDenied) {
			t.Errorf("Open of %s: got %v, want ErrDenied", what, err)
		}
	}
	log := newRecords()
	m := open(t, amy, "a/", &mirror.Options{ConfirmEvery: 100 * time.Millisecond, WatchTimeout: generous, Logger: log.logger()})
	if _, err := root.UserRevokeRole(ctx, "amy", "amy"); err != nil {
		t.Fatal(err)
	}
	log.wait(t, "mirror stale", 1)
	if s := m.State(); !errors.Is(s.Cause, mirror.ErrDenied) {
		t.Errorf("State after the role was revoked: got %+v, want ErrDenied as the cause", s)
	}
	before := asked.Load()
	<-time.After(2 * time.Second) // 20 times ConfirmEvery
	if n := asked.Load() - before; n > 60 {
		t.Errorf("%d requests in 2 s, want some 20", n)
	}
	if _, err := root.UserGrantRole(ctx, "amy", "amy"); err != nil {
		t.Fatal(err)
	}
	wait(t, m, put(t, root, "a/key", "2"))
	log.wait(t, "mirror fresh", 2)
	if got := strings.Count(log.all(), "mirror stale"); got != 1 {
		t.Errorf("lines that say stale: got %d, want 1:\n%s", got, log.all())
	}
}

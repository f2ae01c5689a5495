package registry_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/etcdkit/etcdkit/client"
	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/internal/means"
	"github.com/etcdkit/etcdkit/lease"
	"github.com/etcdkit/etcdkit/registry"
)

// All members are killed, or no quorum is left, for 3 × TTL.
func TestItComesBackAfterAnOutageWithinItsTTL(t *testing.T) {
	t.Parallel()
	outage(t, 5*time.Second)
}

// outage takes the quorum away for three TTLs: then each instance has one key, back within the TTL.
func outage(t *testing.T, ttl time.Duration) {
	for name, kill := range map[string]func(*cluster.Cluster) []string{
		"all members": func(c *cluster.Cluster) []string { return c.Names() },
		"the quorum":  func(c *cluster.Cluster) []string { return c.Names()[:2] },
	} {
		t.Run(fmt.Sprint(name, ", TTL ", ttl), func(t *testing.T) {
			t.Parallel()
			c := etcdtest.NewCluster(t, nil)
			cli := etcdtest.Client(t, c)
			r, err := registry.New(cli, &registry.Options{TTL: ttl})
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			regs, err := r.Register(bounded(t), web("a"), web("b"))
			if err != nil {
				t.Fatal(err)
			}
			first := regs[0].State().Lease
			killed := kill(c)
			for _, name := range killed {
				if _, err := c.Kill(t.Context(), name); err != nil {
					t.Fatal(err)
				}
			}
			<-time.After(3 * ttl) // the fault's length
			if s := regs[0].State(); s.Registered || s.Err == nil || s.LostBecause == "" {
				t.Errorf("during the outage: %+v, want it to know, and why", s)
			}
			there, not := registry.Group{Service: "web", Status: registry.Passing, Registered: true}, registry.Group{Service: "web", Status: registry.Passing}
			if got := r.Stats(); got.Registrations[there] != 0 || got.Registrations[not] != 2 || got.Lost[registry.LossLease] != 2 {
				t.Errorf("during the outage: %+v, want two that are not registered, since their lease ended", got)
			}
			for _, name := range killed {
				if _, err := c.Start(t.Context(), name); err != nil {
					t.Fatal(err)
				}
			}
			began := time.Now() // Start returns when a leader is there
			for ctx := bounded(t); !registered(regs); {
				select {
				case <-time.After(10 * time.Millisecond):
				case <-ctx.Done():
					t.Fatalf("%+v, want it registered", regs[0].State())
				}
			}
			took := time.Since(began)
			t.Logf("back after %v", took)
			if took > ttl && !means.Race {
				t.Errorf("back after %v, want the TTL of %v", took, ttl)
			}
			resp, err := cli.Get(bounded(t), "/services/web/", clientv3.WithPrefix())
			if err != nil || len(resp.Kvs) != 2 {
				t.Errorf("after the outage: %v, %v, want each instance once", resp, err)
			}
			s := regs[0].State()
			if len(resp.Kvs) > 0 && (resp.Kvs[0].Lease != int64(s.Lease) || s.Lease == first || resp.Kvs[0].ModRevision != s.Revision) {
				t.Errorf("%v, want the lease and the revision of %+v, and not lease %x", resp.Kvs[0], s, first)
			}
			if got := r.Stats().Registrations; got[there] != 2 || len(got) != 1 {
				t.Errorf("after the outage: %v, want two that are registered", got)
			}
		})
	}
}

// Faults 12 and 13.
func TestARevokedLeaseAndADeletedKeyArePutRightWithinASecond(t *testing.T) {
	for _, ttl := range []time.Duration{2 * time.Second, 5 * time.Second, 10 * time.Second, 5 * time.Minute} {
		cli, prefix := etcdtest.New(t)
		key := prefix + "web/a"
		for name, take := range map[string]func(registry.State) error{
			"its lease is revoked": func(s registry.State) error { _, err := cli.Revoke(t.Context(), s.Lease); return err },
			"its key is deleted":   func(registry.State) error { _, err := cli.Delete(t.Context(), key); return err },
		} {
			t.Run(fmt.Sprint(name, ", TTL ", ttl), func(t *testing.T) {
				reg := register(t, cli, web("a"), &registry.Options{Prefix: prefix, TTL: ttl})
				before := reg.State()
				began := time.Now()
				if err := take(before); err != nil {
					t.Fatal(err)
				}
				gone := eventually(t, cli, key, before.Revision, func(ev *clientv3.Event) bool { return !isPut(ev) })
				back := eventually(t, cli, key, gone.Kv.ModRevision, isPut)
				took := time.Since(began)
				t.Logf("back after %v", took)
				if took > time.Second && !means.Race {
					t.Errorf("back after %v, want 1 s", took)
				}
				for ctx := bounded(t); reg.State().Revision != back.Kv.ModRevision; { // its answer is on its way
					select {
					case <-time.After(time.Millisecond):
					case <-ctx.Done():
						t.Fatalf("state %+v, want the revision of %v", reg.State(), back.Kv)
					}
				}
				s := reg.State()
				if !s.Registered || s.Losses != 1 || s.LostBecause == "" || int64(s.Lease) != back.Kv.Lease || s.Err != nil {
					t.Errorf("state %+v, want it registered again, once, and why", s)
				}
				if got := reg.Stats().Lost; got[registry.LossDeleted]+got[registry.LossLease] != 1 {
					t.Errorf("Stats have %v lost, want one", got)
				}
				if err := reg.Close(); err != nil {
					t.Fatal(err)
				}
			})
		}
	}
}

// One follower does not answer, and nothing is reset: whatever the TTL is, that costs a moment.
func TestRegisterWithASilentFollowerTakesNoLongerForALongerTTL(t *testing.T) {
	t.Parallel()
	c := etcdtest.NewCluster(t, nil)
	cli := etcdtest.Client(t, c)
	if _, err := cli.Get(bounded(t), "connect"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Blackhole(t.Context(), "follower"); err != nil {
		t.Fatal(err)
	}
	for _, ttl := range []time.Duration{5 * time.Second, time.Minute, 5 * time.Minute} {
		for n := range 4 {
			for range n { // the client's requests go to each member in turn: so that the silent one has another one of them
				ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
				_, _ = cli.Get(ctx, "next", clientv3.WithSerializable()) // that it ends is enough
				cancel()
			}
			began := time.Now()
			reg, err := registry.Register(bounded(t), cli, web(fmt.Sprintf("%v-%d", ttl, n)), &registry.Options{TTL: ttl})
			if err != nil {
				t.Fatal(err)
			}
			took := time.Since(began)
			t.Logf("TTL %v: registered after %v", ttl, took)
			if took > 3*time.Second && !means.Race {
				t.Errorf("TTL %v: registered after %v, want 3 s", ttl, took)
			}
			defer reg.Close()
		}
	}
	if _, err := c.Heal(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// The member that serves the client falls silent, whichever it is. Nothing is reset.
func TestASilentMemberDoesNotCostTheRegistration(t *testing.T) {
	t.Parallel()
	c := etcdtest.NewCluster(t, nil)
	cli := etcdtest.Client(t, c)
	const ttl = 5 * time.Second
	k := lease.NewKeeper(cli, &lease.Options{TTL: ttl})
	defer k.Close()
	reg := register(t, cli, web("a"), &registry.Options{Keeper: k})
	at := reg.State().Revision
	// The keepalives stay with one member while it answers, so one of the three meets them.
	for _, name := range c.Names() {
		if _, err := c.Blackhole(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		<-time.After(ttl + 2*time.Second) // the fault's length
		if _, err := c.Heal(t.Context()); err != nil {
			t.Fatal(err)
		}
		if k.Stats().Retries > 0 {
			break
		}
	}
	if k.Stats().Retries == 0 {
		t.Error("void: no keepalive met a silent member")
	}
	ctx, cancel := context.WithCancel(bounded(t))
	defer cancel()
	put, err := cli.Put(ctx, "end", "")
	if err != nil {
		t.Fatal(err)
	}
	for resp := range cli.Watch(ctx, "", clientv3.WithPrefix(), clientv3.WithRev(at+1)) {
		for _, ev := range resp.Events {
			if ev.Type == clientv3.EventTypeDelete && string(ev.Kv.Key) == reg.State().Key {
				t.Errorf("deregistered at revision %d", ev.Kv.ModRevision)
			}
		}
		if resp.Header.Revision >= put.Header.Revision {
			return
		}
	}
}

// The caller gets ctx's end in time, with the endpoints and why.
func TestRegisterEndsWithItsContextAndSaysWhy(t *testing.T) {
	t.Parallel()
	closed := etcdtest.Addr(t)
	hole := etcdtest.NewCluster(t, nil)
	for _, name := range hole.Names() {
		if _, err := hole.Blackhole(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	for cause, endpoints := range map[string][]string{"connection refused": {closed}, "no answer": hole.Endpoints()} {
		t.Run(cause, func(t *testing.T) {
			t.Parallel()
			cli, err := clientv3.New(clientv3.Config{Endpoints: endpoints, Logger: zap.NewNop()})
			if err != nil {
				t.Fatal(err)
			}
			defer cli.Close()
			const patience = time.Second
			var calls sync.WaitGroup
			late := make([]time.Duration, 3) // One in time is enough: the machine has other work.
			for n := range late {            // At once, as the outage is not known yet: each asks.
				r, err := registry.New(cli, &registry.Options{TTL: 2 * time.Second})
				if err != nil {
					t.Fatal(err)
				}
				defer r.Close() // which has no answer either
				calls.Go(func() {
					ctx, cancel := context.WithTimeout(t.Context(), patience)
					defer cancel()
					began := time.Now()
					reg, err := r.Register(ctx, web("a"))
					late[n] = time.Since(began) - patience
					t.Logf("%v after its deadline: %v", late[n], err)
					if reg != nil || !errors.Is(err, context.DeadlineExceeded) {
						t.Errorf("got %v, %v, want the deadline", reg, err)
						return
					}
					for _, want := range append(slices.Clone(endpoints), cause) {
						if !strings.Contains(err.Error(), want) {
							t.Errorf("got %q, want %q in it", err, want)
						}
					}
				})
			}
			calls.Wait()
			if least := slices.Min(late); least > 100*time.Millisecond && !means.Race {
				t.Errorf("returned %v after its deadline, want 100 ms", least)
			}
		})
	}
}

// In another cluster revisions that are known mean nothing.
func TestItComesBackInAnotherHistory(t *testing.T) {
	t.Parallel()
	first, second := etcdtest.NewCluster(t, &cluster.Options{Members: 1}), etcdtest.NewCluster(t, &cluster.Options{Members: 1})
	g := etcdtest.NewGate(t, first.Endpoints()[0])
	var sent calls
	cli, err := clientv3.New(clientv3.Config{Endpoints: []string{g.Addr()}, DialOptions: []grpc.DialOption{sent.count()}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer cli.Close()
	for range 100 { // revisions that the second one will not have come to
		if _, err := cli.Put(bounded(t), "x", ""); err != nil {
			t.Fatal(err)
		}
	}
	reg := register(t, cli, web("a"), &registry.Options{TTL: 2 * time.Second})
	lost := reg.State().Revision
	if _, err := cli.Delete(bounded(t), "/services/web/a"); err != nil {
		t.Fatal(err)
	}
	eventually(t, cli, "/services/web/a", lost+1, isPut)
	g.SetTarget(second.Endpoints()[0])
	before := sent.n.Load()
	eventually(t, etcdtest.Client(t, second), "/services/web/a", 1, isPut)
	if err := reg.Update(bounded(t), func(i *registry.Instance) { i.Weight = 2 }); err != nil {
		t.Error(err)
	}
	if n := sent.n.Load() - before; n > 50 {
		t.Errorf("%d requests, want a few", n)
	}
	if s := reg.State(); !s.Registered || s.Err != nil {
		t.Errorf("state %+v, want it registered", s)
	}
}

// A new leader gives every lease its full time again: that does not mean that the owner lives.
func TestADeadOwnerStaysDeadWhenTheLeaderChanges(t *testing.T) {
	t.Parallel()
	c := etcdtest.NewCluster(t, nil)
	cli := etcdtest.Client(t, c)
	dead, err := cli.Grant(t.Context(), 6)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cli.Put(t.Context(), "/services/web/a", "10.0.0.9:80", clientv3.WithLease(dead.ID)); err != nil {
		t.Fatal(err)
	}
	result := make(chan error, 1)
	go func() { // waited for below
		reg, err := registry.Register(bounded(t), cli, web("a"), nil)
		if err == nil {
			_ = reg.Close()
		}
		result <- err
	}()
	<-time.After(3 * time.Second) // of the six
	change, err := c.Kill(t.Context(), "leader")
	if err != nil {
		t.Fatal(err)
	}
	t.Log(change)
	if ttl, err := cli.TimeToLive(bounded(t), dead.ID); err != nil || ttl.TTL < 4 {
		t.Fatalf("void: the lease has %v left, %v, want it started again", ttl, err)
	}
	if err := <-result; err != nil {
		t.Errorf("got %v, want the key once its lease has ended", err)
	}
}

// A full database takes no writes, but it takes deletions.
func TestAWithdrawalNeedsNoSpace(t *testing.T) {
	t.Parallel()
	c := etcdtest.NewCluster(t, &cluster.Options{Members: 1, InProcess: true})
	cli := etcdtest.Client(t, c)
	k := lease.NewKeeper(cli, nil) // a shared one: its lease outlives the registration
	defer k.Close()
	reg := register(t, cli, web("a"), &registry.Options{Keeper: k})
	alarm := &pb.AlarmRequest{Action: pb.AlarmRequest_ACTIVATE, Alarm: pb.AlarmType_NOSPACE}
	if _, err := pb.NewMaintenanceClient(cli.ActiveConnection()).Alarm(bounded(t), alarm); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if err := reg.Update(ctx, func(i *registry.Instance) { i.Weight = 7 }); !errors.Is(err, rpctypes.ErrNoSpace) {
		t.Errorf("update: got %v, want ErrNoSpace", err)
	}
	if err := reg.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	if kvs := get(t, cli, "/services/web/a").Kvs; len(kvs) != 0 {
		t.Errorf("after Close: %v, want nothing", kvs)
	}
}

// What one registration tries, it tries for all of them.
func TestTenRegistrationsDialNoMoreOftenThanOneInAnOutage(t *testing.T) {
	t.Parallel()
	c := etcdtest.NewCluster(t, &cluster.Options{Members: 1})
	var gates []*etcdtest.Gate
	var addrs []string
	for range 3 {
		g := etcdtest.NewGate(t, c.Endpoints()[0])
		gates, addrs = append(gates, g), append(addrs, g.Addr())
	}
	cli, err := client.Dial(bounded(t), &client.Options{Endpoints: addrs})
	if err != nil {
		t.Fatal(err)
	}
	defer cli.Close()
	var regs []*registry.Registration
	for n := range 10 {
		regs = append(regs, register(t, cli, web(fmt.Sprint(n)), &registry.Options{TTL: 2 * time.Second}))
	}
	dials := func() (n int) {
		for _, g := range gates {
			n += g.Accepted()
		}
		return n
	}
	for _, g := range gates {
		g.SetTarget("")
	}
	outlived(t, regs[0])
	before := dials()
	const length = 6 * time.Second
	<-time.After(length) // of the outage that is looked at
	n := dials() - before
	t.Logf("%d dials in %v", n, length)
	if n > 2*int(length/time.Second)+2 {
		t.Errorf("%d dials in %v, want 2 a second at most", n, length)
	}
	if n == 0 {
		t.Error("no dial: how is the end of the outage found out?")
	}
	for _, g := range gates {
		g.SetTarget(c.Endpoints()[0])
	}
	began := time.Now()
	for ctx := bounded(t); !registered(regs); {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("%+v, want all registered", regs[0].State())
		}
	}
	took := time.Since(began)
	t.Logf("back after %v", took)
	if took > 2*time.Second && !means.Race {
		t.Errorf("back after %v, want the TTL of 2 s", took)
	}
}

package registry_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/lease"
	"github.com/etcdkit/etcdkit/registry"
)

// Fault 15.
func TestItComesBackAfterAnOutageOfTheWholeCluster(t *testing.T) {
	t.Parallel()
	c := etcdtest.NewCluster(t, nil)
	cli := etcdtest.Client(t, c)
	opts := &registry.Options{TTL: 2 * time.Second}
	reg := register(t, cli, web("a"), opts)
	other := register(t, cli, web("b"), opts)
	for _, name := range c.Names() {
		if _, err := c.Kill(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	<-time.After(3 * 2 * time.Second) // the fault's length: 3 × TTL
	if s := reg.State(); s.Registered || s.Err == nil {
		t.Errorf("during the outage: %+v, want it to know", s)
	}
	for _, name := range c.Names() {
		if _, err := c.Start(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range []*registry.Registration{reg, other} {
		if err := r.Update(bounded(t), func(i *registry.Instance) { i.Version = "v2" }); err != nil {
			t.Fatal(err)
		}
	}
	resp, err := cli.Get(bounded(t), "/services/web/", clientv3.WithPrefix())
	if err != nil || len(resp.Kvs) != 2 {
		t.Errorf("after the outage: %v, %v, want each instance once", resp, err)
	}
}

// Fault 14: the member that serves the client falls silent, whichever it is. Nothing is reset.
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

// Fault 5: the caller gets ctx's end in time, with the endpoints and why.
func TestRegisterEndsWithItsContextAndSaysWhy(t *testing.T) {
	t.Parallel()
	nobody := etcdtest.Addr(t)
	hole := etcdtest.NewCluster(t, nil)
	for _, name := range hole.Names() {
		if _, err := hole.Blackhole(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	for cause, endpoints := range map[string][]string{"connection refused": {nobody}, "no answer": hole.Endpoints()} {
		cli, err := clientv3.New(clientv3.Config{Endpoints: endpoints, Logger: zap.NewNop()})
		if err != nil {
			t.Fatal(err)
		}
		r, err := registry.New(cli, &registry.Options{TTL: 2 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		began := time.Now()
		reg, err := r.Register(ctx, web("a"))
		if took := time.Since(began); took > 4*time.Second {
			t.Errorf("%s: returned after %v, want 2 s", cause, took)
		}
		cancel()
		_ = r.Close() // nobody answers that either
		if reg != nil || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), endpoints[0]) || !strings.Contains(err.Error(), cause) {
			t.Errorf("got %v, %v, want the deadline, %s and %q", reg, err, endpoints[0], cause)
		}
		cli.Close()
	}
}

// Fault 24: what is known of revisions is worth nothing any more.
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
	g.Lead(second.Endpoints()[0])
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

// A leader that takes over starts every lease anew: that makes nobody alive.
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
		t.Fatalf("void: the lease has %v left, %v, want it started anew", ttl, err)
	}
	if err := <-result; err != nil {
		t.Errorf("got %v, want the key once its lease has ended", err)
	}
}

// Fault 26: a full database takes no writes. It does take deletions.
func TestAWithdrawalNeedsNoSpace(t *testing.T) {
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

// calls counts unary calls.
type calls struct{ n atomic.Int64 }

func (c *calls) count() grpc.DialOption {
	return grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		if strings.HasSuffix(method, "/Txn") || strings.HasSuffix(method, "/LeaseGrant") {
			c.n.Add(1)
		}
		return invoke(ctx, method, req, reply, cc, opts...)
	})
}

func TestAUserWithoutTheRightIsToldAtOnce(t *testing.T) {
	c := etcdtest.NewCluster(t, &cluster.Options{Members: 1, InProcess: true})
	root := etcdtest.Auth(t, c)
	var sent calls
	cli := etcdtest.User(t, c, root, "guest", "", sent.count())
	began := time.Now()
	reg, err := registry.Register(bounded(t), cli, web("a"), nil)
	if reg != nil || !errors.Is(err, registry.ErrUnauthorised) {
		t.Errorf("got %v, %v, want ErrUnauthorised", reg, err)
	}
	if n := sent.n.Load(); n > 5 {
		t.Errorf("%d requests in %v, want a few", n, time.Since(began))
	}
	r, err := registry.New(cli, nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second one is not in the way of the first
		if _, err := r.Register(bounded(t), web("a")); !errors.Is(err, registry.ErrUnauthorised) {
			t.Errorf("got %v, want ErrUnauthorised", err)
		}
	}
	if err := r.Close(); err != nil {
		t.Errorf("close: %v; there was nothing to withdraw", err)
	}
}

// Fault 30: a token that became invalid, and a role that is taken away and given back.
func TestAChangeOfRightsIsToldAndSurvived(t *testing.T) {
	t.Parallel()
	c := etcdtest.NewCluster(t, &cluster.Options{Members: 1, InProcess: true})
	root := etcdtest.Auth(t, c)
	var sent calls
	cli := etcdtest.User(t, c, root, "amy", "/services/", sent.count())
	reg := register(t, cli, web("a"), &registry.Options{TTL: 30 * time.Second})
	weigh := func(ctx context.Context, w int) error {
		return reg.Update(ctx, func(i *registry.Instance) { i.Weight = w })
	}
	// Setting the password anew, to the same, makes every token of hers invalid.
	if _, err := root.UserChangePassword(bounded(t), "amy", etcdtest.Password); err != nil {
		t.Fatal(err)
	}
	if err := weigh(bounded(t), 2); err != nil {
		t.Errorf("update with a token that became invalid: %v", err)
	}
	if _, err := root.UserRevokeRole(bounded(t), "amy", "amy"); err != nil {
		t.Fatal(err)
	}
	if err := weigh(bounded(t), 3); !errors.Is(err, registry.ErrUnauthorised) {
		t.Errorf("update without the role: %v, want ErrUnauthorised", err)
	}
	if s := reg.State(); !s.Registered || !errors.Is(s.Err, registry.ErrUnauthorised) {
		t.Errorf("state %+v, want it registered as it was, with the reason", s)
	}
	before := sent.n.Load()
	<-time.After(3 * time.Second) // in which somebody who spins sends hundreds
	if n := sent.n.Load() - before; n > 5 {
		t.Errorf("%d writes in 3 s, want hardly any", n)
	}
	if _, err := root.UserGrantRole(bounded(t), "amy", "amy"); err != nil {
		t.Fatal(err)
	}
	eventually(t, root, "/services/web/a", reg.State().Revision, func(ev *clientv3.Event) bool {
		return isPut(ev) && strings.Contains(string(ev.Kv.Value), fmt.Sprintf(`"weight":%d`, 3))
	})
}

package lease_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/etcdkit/etcdkit/client"
	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/internal/means"
	"github.com/etcdkit/etcdkit/lease"
)

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// One silent follower costs a moment, whatever the TTL.
func TestAGrantIsNotHeldUpByOneSilentFollower(t *testing.T) {
	t.Parallel()
	c := etcdtest.NewCluster(t, nil)
	cli, n := counted(t, c.Endpoints()...)
	for members := make(map[uint64]bool); len(members) < 3; { // it asks each in turn that it is connected to
		resp, err := cli.Get(t.Context(), "x")
		if err != nil {
			t.Fatal(err)
		}
		members[resp.Header.MemberId] = true
	}
	if _, err := c.Blackhole(t.Context(), "follower"); err != nil {
		t.Fatal(err)
	}
	for _, ttl := range []time.Duration{5 * time.Second, time.Minute, 5 * time.Minute} {
		// The client's connection comes to each member in turn.
		grantHeldUp, confirmHeldUp := false, false
		for try := 0; !grantHeldUp || !confirmHeldUp; try++ {
			if try == 30 {
				t.Fatal("void: what is asked does not come to the silent member")
			}
			k := newKeeper(t, cli, &lease.Options{TTL: ttl})
			grants, began := n.grants.Load(), time.Now()
			l := live(t, k)
			granted := time.Since(began)
			grantHeldUp = grantHeldUp || n.grants.Load() > grants+1 // another member was asked, too
			streams, began := n.streams.Load(), time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), generous)
			if err := l.Confirm(ctx); err != nil {
				t.Fatal(err)
			}
			cancel()
			confirmed := time.Since(began)
			confirmHeldUp = confirmHeldUp || n.streams.Load() > streams+1
			if granted > 3*time.Second || confirmed > 3*time.Second {
				t.Fatalf("TTL %v, one follower silent: granted after %v, confirmed after %v; want 3 s at most", ttl, granted, confirmed)
			}
			t.Logf("TTL %v: granted after %v, confirmed after %v", ttl, granted, confirmed)
			if err := k.Close(); err != nil {
				t.Error(err)
			}
			// One more request: those of a try can be as many as the members, and then each member gets the same ones.
			ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
			_, _ = cli.Get(ctx, "x") // the silent member does not answer it
			cancel()
		}
	}
}

// calls counts what a client sends, by method, and the streams that it opens for keepalives.
type calls struct{ grants, revokes, streams atomic.Int64 }

// counted returns a client like clientv3.New's whose calls are counted.
func counted(t *testing.T, endpoints ...string) (*clientv3.Client, *calls) {
	t.Helper()
	n := &calls{}
	cli, err := clientv3.New(clientv3.Config{Endpoints: endpoints, Logger: zap.NewNop(), DialOptions: []grpc.DialOption{
		grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			switch {
			case strings.HasSuffix(method, "/LeaseGrant"):
				n.grants.Add(1)
			case strings.HasSuffix(method, "/LeaseRevoke"):
				n.revokes.Add(1)
			}
			return invoke(ctx, method, req, reply, cc, opts...)
		}),
		grpc.WithChainStreamInterceptor(func(ctx context.Context, d *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
			if strings.HasSuffix(method, "/LeaseKeepAlive") {
				n.streams.Add(1)
			}
			return open(ctx, d, cc, method, opts...)
		}),
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cli.Close() })
	return cli, n
}

func TestWhatWasNeverSentIsNotRevoked(t *testing.T) {
	t.Parallel()
	direct, _ := etcdtest.New(t)
	gate := etcdtest.NewGate(t, "")
	cli, n := counted(t, gate.Addr())
	k := newKeeper(t, cli, nil)
	for tries := 0; n.grants.Load() == 0; tries++ { // with the first one the outage is known, and no more are made
		if tries == 20 {
			t.Fatal("nothing was tried")
		}
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		if _, err := k.Lease(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("while etcd is away: %v, want DeadlineExceeded", err)
		}
		cancel()
	}
	gate.SetTarget(direct.Endpoints()[0])
	live(t, k)
	for back := time.Now(); time.Since(back) < 2*time.Second && n.revokes.Load() == 0; { // what was given up is revoked now, if at all
		<-time.After(10 * time.Millisecond)
	}
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d tries of a grant, %d revocations", n.grants.Load(), n.revokes.Load())
	if got := n.revokes.Load(); got != 1 { // of the one that was granted
		t.Errorf("%d revocations, want 1: of the lease that was granted", got)
	}
}

// away are the ways in which all members can be away.
var away = map[string]func(*cluster.Cluster, context.Context, string) (*cluster.Change, error){
	"paused":     (*cluster.Cluster).Pause,
	"blackholed": (*cluster.Cluster).Blackhole,
	"killed":     (*cluster.Cluster).Kill,
}

// Each call ends by its deadline, and Close within its bound, with the endpoints and the cause.
func TestEveryCallIsBoundedWhileEtcdIsAway(t *testing.T) {
	t.Parallel()
	for name, fault := range away {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := etcdtest.NewCluster(t, nil)
			cli := etcdtest.Client(t, c)
			k := newKeeper(t, cli, nil)
			l := live(t, k)
			var others []*lease.Keeper
			for range 5 {
				other := newKeeper(t, cli, nil)
				live(t, other)
				others = append(others, other)
			}
			if _, err := fault(c, t.Context(), "all"); err != nil {
				t.Fatal(err)
			}
			fresh := newKeeper(t, cli, nil)
			for call, f := range map[string]func(context.Context) error{
				"Lease":    func(ctx context.Context) error { _, err := fresh.Lease(ctx); return err },
				"Reserve":  func(ctx context.Context) error { _, err := fresh.Reserve(ctx, 1); return err },
				"TryLease": func(ctx context.Context) error { _, err := fresh.TryLease(ctx); return err },
				"Confirm":  l.Confirm,
			} {
				late := time.Duration(math.MaxInt64)
				type returned struct {
					err  error
					late time.Duration
				}
				all := make(chan returned)
				const calls = 3 // one in time is enough: the machine has other work
				for range calls {
					go func() {
						ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
						defer cancel()
						deadline, _ := ctx.Deadline()
						err := f(ctx)
						all <- returned{err, time.Since(deadline)}
					}()
				}
				for range calls {
					got := <-all
					late = min(late, got.late)
					if got.err == nil {
						t.Errorf("%s succeeds: etcd is not away", call)
						continue
					}
					for _, part := range append(c.Endpoints(), ": ") {
						if !strings.Contains(got.err.Error(), part) {
							t.Errorf("%s: got %q, want the endpoint %s in it", call, got.err, part)
						}
					}
					t.Logf("%s: %v", call, got.err)
				}
				if late > 100*time.Millisecond && !means.Race {
					t.Errorf("%s returned %v after its deadline, want within 100 ms", call, late)
				}
			}
			began := time.Now()
			if _, err := fresh.TryLease(context.Background()); !errors.Is(err, lease.ErrUnreachable) {
				t.Errorf("TryLease without a deadline: got %v, want ErrUnreachable", err)
			}
			if took := time.Since(began); took > 2200*time.Millisecond && !means.Race {
				t.Errorf("TryLease without a deadline: %v, want 2 s", took)
			}
			began = time.Now()
			for _, k := range append(others, k, fresh) {
				_ = k.Close()
			}
			took := time.Since(began)
			t.Logf("seven Keepers closed one after another in %v", took)
			if took > 2*time.Second && !means.Race {
				t.Errorf("seven Keepers closed one after another in %v, want 2 s", took)
			}
		})
	}
}

func TestShutdownHasABoundOfTheCallers(t *testing.T) {
	t.Parallel()
	c := etcdtest.NewCluster(t, nil)
	k := newKeeper(t, etcdtest.Client(t, c), nil)
	live(t, k)
	if _, err := c.Pause(t.Context(), "all"); err != nil {
		t.Fatal(err)
	}
	shut := make(chan error, 1)
	ctx, cancel := context.WithTimeout(t.Context(), generous)
	defer cancel()
	go func() { shut <- k.Shutdown(ctx) }()
	select {
	case err := <-shut:
		t.Fatalf("Shutdown gave up: %v", err)
	case <-time.After(3 * time.Second): // more than Close has
	}
	if _, err := c.Resume(t.Context(), "all"); err != nil {
		t.Fatal(err)
	}
	if err := <-shut; err != nil {
		t.Errorf("Shutdown: %v, want the lease revoked once etcd is back", err)
	}
}

func TestWithoutSpaceTryLeaseIsBoundedAndSaysSo(t *testing.T) {
	t.Parallel()
	c := etcdtest.NewCluster(t, &cluster.Options{Members: 1, QuotaBytes: 4 << 20})
	cli := etcdtest.Client(t, c)
	for i := 0; ; i++ {
		if _, err := cli.Put(t.Context(), "fill", strings.Repeat("x", 1<<20)); err != nil {
			break
		}
		if i > 100 {
			t.Fatal("the quota is not reached")
		}
	}
	k := newKeeper(t, cli, nil)
	began := time.Now()
	_, err := k.TryLease(t.Context())
	if took := time.Since(began); took > 2200*time.Millisecond && !means.Race {
		t.Errorf("TryLease: %v, want 2 s", took)
	}
	if err == nil || errors.Is(err, lease.ErrUnreachable) || !strings.Contains(err.Error(), "space") {
		t.Errorf("TryLease: got %v, want that there is no space", err)
	}
}

func TestAnImpossibleTTLIsTheLongestPossible(t *testing.T) {
	cli, _ := etcdtest.New(t)
	for _, ttl := range []time.Duration{math.MaxInt64, math.MaxInt64 - 1, 200 * 365 * 24 * time.Hour} {
		k := newKeeper(t, cli, &lease.Options{TTL: ttl})
		l := live(t, k)
		if got := l.Remaining(); got < 9*365*24*time.Hour || got > 11*365*24*time.Hour {
			t.Errorf("TTL %v: %v remain, want ten years", ttl, got)
		}
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	}
}

// An outage of all members costs next to nothing, however many handles stand on the client.
func TestManyKeepersInAnOutageCostLittle(t *testing.T) {
	if means.Race {
		t.Skip("the race detector is what costs here")
	}
	cli := must[*clientv3.Client](t)(clientv3.New(clientv3.Config{Endpoints: []string{etcdtest.Addr(t), etcdtest.Addr(t), etcdtest.Addr(t)}, Logger: zap.NewNop()}))
	t.Cleanup(func() { cli.Close() })
	ctx, cancel := context.WithCancel(t.Context())
	var waiting sync.WaitGroup
	defer waiting.Wait()
	defer cancel()
	for range 240 {
		k := newKeeper(t, cli, nil)
		waiting.Go(func() { _, _ = k.Lease(ctx) })
	}
	<-time.After(3 * time.Second) // the outage is known
	cpu := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			t.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	before := cpu()
	<-time.After(5 * time.Second)
	spent := cpu() - before
	t.Logf("240 Keepers that wait in an outage: %.1f %% of a core", 100*spent.Seconds()/5)
	if spent > 250*time.Millisecond {
		t.Errorf("240 Keepers in an outage: %v in 5 s, want 5 %% of a core at most", spent)
	}
}

func TestAnExpiredCertificateIsATypedErrorAndCostsLittle(t *testing.T) {
	t.Parallel()
	ca := etcdtest.NewAuthority(t)
	server := ca.Issue("server", time.Hour)
	c := etcdtest.NewCluster(t, &cluster.Options{ClientTLS: &cluster.TLS{CertFile: server, KeyFile: server, ClientCAFile: ca.File}})
	me := ca.Issue("me", time.Hour)
	cli := must[*clientv3.Client](t)(client.Dial(t.Context(), &client.Options{Endpoints: c.Endpoints(), CACert: ca.File, Cert: me, Key: me}))
	t.Cleanup(func() { cli.Close() })
	k := newKeeper(t, cli, &lease.Options{TTL: 3 * time.Second})
	l := live(t, k)
	ca.Issue("me", -time.Minute)
	for _, name := range c.Names() { // connections that are up outlive their certificate
		if _, err := c.Restart(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	wantDone(t, l)
	if err := l.Err(); !errors.Is(err, lease.ErrCertificate) || !errors.Is(err, lease.ErrUnreachable) {
		t.Errorf("the lease: got %v, want ErrCertificate and ErrUnreachable", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if _, err := k.Lease(ctx); !errors.Is(err, lease.ErrCertificate) {
		t.Errorf("Lease: got %v, want ErrCertificate", err)
	} else {
		t.Log(err)
	}
	ca.Issue("me", time.Hour)
	live(t, k) // without a restart
}

package lease_test

import (
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"

	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/internal/means"
	"github.com/etcdkit/etcdkit/lease"
)

// generous bounds what should take a moment, on a machine that does much else.
const generous = 30 * time.Second

func newKeeper(t testing.TB, cli *clientv3.Client, opts *lease.Options) *lease.Keeper {
	t.Helper()
	k := lease.NewKeeper(cli, opts)
	t.Cleanup(func() { k.Close() })
	return k
}

func live(t testing.TB, k *lease.Keeper) *lease.Lease {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), generous)
	defer cancel()
	l, err := k.Lease(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func wantDone(t *testing.T, l *lease.Lease) {
	t.Helper()
	select {
	case <-l.Done():
	case <-time.After(generous):
		t.Fatalf("Done is open after %v", generous)
	}
}

// tap records which member the client speaks to.
type tap struct {
	keepAlives atomic.Int64 // sent
	answered   atomic.Value // address that answered the last one
}

func (tp *tap) client(t *testing.T, cfg clientv3.Config) *clientv3.Client {
	t.Helper()
	cfg.Logger = zap.NewNop()
	cfg.DialOptions = append(cfg.DialOptions, grpc.WithChainStreamInterceptor(
		func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, streamer grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
			s, err := streamer(ctx, desc, cc, method, opts...)
			return &tapped{s, tp}, err
		}))
	cli, err := clientv3.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cli.Close() })
	return cli
}

type tapped struct {
	grpc.ClientStream
	tap *tap
}

func (s *tapped) SendMsg(m any) error {
	s.tap.keepAlives.Add(1)
	return s.ClientStream.SendMsg(m)
}

func (s *tapped) RecvMsg(m any) error {
	err := s.ClientStream.RecvMsg(m)
	if p, ok := peer.FromContext(s.Context()); ok && err == nil {
		s.tap.answered.Store(p.Addr.String())
	}
	return err
}

// The ways in which the one member that the client talks to can fail.
func TestALeaseSurvivesTheMemberItIsKeptAliveThrough(t *testing.T) {
	t.Parallel()
	type fault = func(*cluster.Cluster, context.Context, string) (*cluster.Change, error)
	for _, test := range []struct {
		name   string
		fault  fault
		silent bool
		user   string
		ttl    time.Duration
	}{
		{"killed", (*cluster.Cluster).Kill, false, "", 5 * time.Second},
		{"paused", (*cluster.Cluster).Pause, true, "", 5 * time.Second},
		{"blackholed without a reset", (*cluster.Cluster).Blackhole, true, "", 5 * time.Second},
		// More time: with the race detector a password check takes a second.
		{"blackholed, and each new stream wants a token", (*cluster.Cluster).Blackhole, true, "amy", 10 * time.Second},
		{"isolated from the others", (*cluster.Cluster).Isolate, false, "", 5 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := etcdtest.NewCluster(t, nil)
			cfg := clientv3.Config{Endpoints: c.Endpoints()}
			if test.user != "" {
				addUsers(t, c)
				cfg.Username, cfg.Password = test.user, "secret"
			}
			var tp tap
			k := newKeeper(t, tp.client(t, cfg), &lease.Options{TTL: test.ttl})
			l := live(t, k)
			if err := l.Confirm(t.Context()); err != nil {
				t.Fatal(err)
			}
			was := tp.answered.Load().(string)
			for _, name := range c.Names() {
				if ep, _ := c.Endpoint(name); ep == was {
					change, err := test.fault(c, t.Context(), name)
					if err != nil {
						t.Fatal(err)
					}
					t.Log(change)
				}
			}
			least := test.ttl
			for end := time.Now().Add(2 * test.ttl); time.Now().Before(end); {
				select {
				case <-l.Done():
					t.Fatalf("with one of three members %s: %v, want the lease to live", test.name, l.Err())
				case <-time.After(50 * time.Millisecond):
					least = min(least, l.Remaining())
				}
			}
			s := k.Stats()
			t.Logf("%d retries in %d keepalives; at least %v remained of %v", s.Retries, s.KeepAlives, least, test.ttl)
			if now := tp.answered.Load(); now == was || test.silent && s.Retries == 0 {
				t.Errorf("keepalives answered by %v, as before the fault, with %d retries: the fault had no effect", now, s.Retries)
			}
		})
	}
}

func TestARevokedLeaseIsNoticedWithTheNextKeepAlive(t *testing.T) {
	cli, _ := etcdtest.New(t)
	k := newKeeper(t, cli, &lease.Options{TTL: 3 * time.Second})
	l := live(t, k)
	revoked := time.Now()
	if _, err := cli.Revoke(t.Context(), l.ID()); err != nil {
		t.Fatal(err)
	}
	wantDone(t, l)
	t.Logf("Done %v after the lease was revoked", time.Since(revoked))
	wantEnd(t, l, lease.ErrRevoked)

	l = live(t, k)
	if _, err := cli.Revoke(t.Context(), l.ID()); err != nil {
		t.Fatal(err)
	}
	if err := l.Confirm(t.Context()); !errors.Is(err, lease.ErrRevoked) {
		t.Errorf("Confirm of a revoked lease: %v, want ErrRevoked", err)
	}
	if err := k.Close(); err != nil {
		t.Errorf("Close after the lease was revoked: %v", err)
	}
}

func TestWithEveryMemberPausedItEndsAtItsDeadline(t *testing.T) {
	t.Parallel()
	c := etcdtest.NewCluster(t, nil)
	k := newKeeper(t, etcdtest.Client(t, c), &lease.Options{TTL: 5 * time.Second})
	l := live(t, k)
	for _, name := range c.Names() {
		if _, err := c.Pause(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	// What is underway has arrived when a new keepalive is not answered.
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if err := l.Confirm(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("Confirm with every member paused: %v, want DeadlineExceeded", err)
	}
	deadline := l.Deadline()
	wantDone(t, l)
	late := time.Since(deadline)
	t.Logf("Done %v after the deadline", late)
	wantEnd(t, l, lease.ErrUnreachable, c.Endpoints()...)
	if margin := 500 * time.Millisecond; late < -time.Millisecond || late > margin && !means.Race {
		t.Errorf("Done %v after the deadline, want within the margin of %v", late, margin)
	}

	waiting, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if _, err := k.Lease(waiting); !errors.Is(err, lease.ErrUnreachable) {
		t.Errorf("Lease with every member paused: got %v, want ErrUnreachable", err)
	}
	for _, name := range c.Names() {
		if _, err := c.Resume(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	if next := live(t, k); next == l {
		t.Error("Lease after the fault returned the one that was lost")
	}
}

// The safety property: the holder of something on the lease is told before another process can
// get it. Our client is cut off while the answer to its last keepalive is underway for more
// than a second: a deadline that is counted from the answer's arrival comes too late here.
func TestDoneIsClosedBeforeEtcdDeletesTheKey(t *testing.T) {
	t.Parallel()
	direct, prefix := etcdtest.New(t)
	for range 5 { // until the answer came through, which the fault is about
		if cutOffOnce(t, direct, prefix+"key") {
			return
		}
	}
	t.Fatal("no run in which the last keepalive's answer was slow")
}

func cutOffOnce(t *testing.T, direct *clientv3.Client, key string) (valid bool) {
	way := newWire(t, direct.Endpoints()[0])
	var tp tap
	k := newKeeper(t, tp.client(t, clientv3.Config{Endpoints: []string{way.addr}}), &lease.Options{TTL: 4 * time.Second})
	l := live(t, k)
	put, err := direct.Put(t.Context(), key, "", clientv3.WithLease(l.ID()))
	if err != nil {
		t.Fatal(err)
	}
	watching, cancel := context.WithCancel(t.Context())
	defer cancel()
	events := direct.Watch(watching, key, clientv3.WithRev(put.Header.Revision+1))

	const slow = 1300 * time.Millisecond
	way.delay.Store(int64(slow))
	sent, begun := tp.keepAlives.Load(), time.Now()
	confirmed := make(chan error, 1)
	go func() { confirmed <- l.Confirm(t.Context()) }()
	for tp.keepAlives.Load() == sent { // gRPC writes it a moment after it was sent
		runtime.Gosched()
	}
	<-time.After(100 * time.Millisecond)
	close(way.cut)
	if <-confirmed != nil || time.Since(begun) < slow {
		return false
	}

	var done, deleted time.Time
	timeout := time.After(generous)
	for ended := l.Done(); done.IsZero() || deleted.IsZero(); {
		select {
		case <-ended:
			done, ended = time.Now(), nil
		case resp := <-events:
			for _, ev := range resp.Events {
				if ev.Type != mvccpb.Event_EventType(mvccpb.DELETE) {
					continue
				}
				if deleted = time.Now(); l.Err() == nil {
					t.Error("etcd has deleted the key, and the lease is alive")
				}
			}
		case <-timeout:
			t.Fatalf("done %v, deleted %v after %v", done, deleted, generous)
		}
	}
	t.Logf("last keepalive at 0; Done at %v; deleted at %v", done.Sub(begun), deleted.Sub(begun))
	wantEnd(t, l, lease.ErrUnreachable)
	return true
}

// wire is a way to a member that can be slow in one direction, and cut.
type wire struct {
	addr  string
	delay atomic.Int64  // of answers
	cut   chan struct{} // closed: no more questions pass
}

func newWire(t *testing.T, to string) *wire {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{addr: ln.Addr().String(), cut: make(chan struct{})}
	end := make(chan struct{})
	var pumps sync.WaitGroup
	t.Cleanup(func() { close(end); ln.Close(); pumps.Wait() })
	pumps.Go(func() {
		for {
			in, err := ln.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				in.Close()
				continue
			}
			pumps.Go(func() { <-end; in.Close(); out.Close() })
			pumps.Go(func() { w.pump(out, in, end, true) })
			pumps.Go(func() { w.pump(in, out, end, false) })
		}
	})
	return w
}

func (w *wire) pump(to io.Writer, from io.Reader, end <-chan struct{}, questions bool) {
	buf := make([]byte, 4096)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		if questions {
			select {
			case <-w.cut:
				<-end
				return
			default:
			}
		} else {
			select {
			case <-time.After(time.Duration(w.delay.Load())):
			case <-end:
				return
			}
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

func TestAThousandKeepersLeaveNothingBehind(t *testing.T) {
	cli, _ := etcdtest.New(t)
	leases := func() int {
		resp, err := cli.Leases(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return len(resp.Leases)
	}
	before, goroutines := leases(), runtime.NumGoroutine()
	for i := range 1000 {
		k := lease.NewKeeper(cli, nil)
		if i%10 == 0 { // one that is closed while it grants
			ctx, cancel := context.WithCancel(t.Context())
			cancelled := make(chan struct{})
			go func() {
				defer close(cancelled)
				_, _ = k.Lease(ctx)
			}()
			if i%20 == 0 {
				cancel()
			}
			if err := k.Close(); err != nil {
				t.Fatal(err)
			}
			<-cancelled
			cancel()
			continue
		}
		l := live(t, k)
		if i%3 == 0 {
			if err := l.Confirm(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if err := k.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if after := leases(); after > before {
		t.Errorf("%d leases after 1,000 keepers, %d before", after, before)
	}
	for late := time.After(generous); runtime.NumGoroutine() > goroutines+10; { // etcd's own, here, end a moment later
		select {
		case <-time.After(10 * time.Millisecond):
		case <-late:
			t.Fatalf("%d goroutines after 1,000 keepers, %d before", runtime.NumGoroutine(), goroutines)
		}
	}
}

package mirror_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/internal/means"
	"github.com/etcdkit/etcdkit/mirror"
)

// traffic counts what a client sends.
type traffic struct{ calls, streams, sent atomic.Int64 }

func (n *traffic) options() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			n.calls.Add(1)
			return invoke(ctx, method, req, reply, cc, opts...)
		}),
		grpc.WithChainStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
			n.streams.Add(1)
			s, err := open(ctx, desc, cc, method, opts...)
			return countedStream{s, n}, err
		}),
	}
}

func (n *traffic) all() int64 { return n.calls.Load() + n.sent.Load() }

type countedStream struct {
	grpc.ClientStream
	n *traffic
}

func (s countedStream) SendMsg(m any) error {
	s.n.sent.Add(1)
	return s.ClientStream.SendMsg(m)
}

// idle is how many messages a client sends in a second.
func idle(t testing.TB, n *traffic) float64 {
	t.Helper()
	before, began := n.all(), time.Now()
	<-time.After(2 * time.Second) // the time that is measured
	return float64(n.all()-before) / time.Since(began).Seconds()
}

func TestAThousandMirrorsOfAPrefixCostWhatOneDoes(t *testing.T) {
	shared, prefix := etcdtest.New(t)
	opts := &mirror.Options{ConfirmEvery: 100 * time.Millisecond, WatchTimeout: generous}
	var n traffic
	cli := quickClientWith(t, n.options(), shared.Endpoints()...)
	first := open(t, cli, prefix, opts)
	one := idle(t, &n)
	many := make([]*mirror.Mirror, 2000)
	if means.Race {
		many = many[:200]
	}
	opened := make(chan error)
	for i := range many {
		go func() {
			var err error
			many[i], err = mirror.Open(within(t, generous), cli, prefix, opts)
			opened <- err
		}()
	}
	for range many {
		if err := <-opened; err != nil {
			t.Fatal(err)
		}
	}
	all := idle(t, &n)
	t.Logf("in a second: %.1f messages of one, %.1f of %d", one, all, len(many)+1)
	if all > 1.1*one+1 || n.streams.Load() != 1 {
		t.Errorf("%d mirrors sent %.1f messages a second on %d streams, want some %.1f, what one sends, and 1", len(many)+1, all, n.streams.Load(), one)
	}
	revision := put(t, shared, prefix+"a", "1")
	for _, m := range many {
		wait(t, m, revision)
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
	}
	wait(t, first, put(t, shared, prefix+"a", "2"))
	if got, _ := many[0].Get(prefix + "a"); got.Value != "1" {
		t.Errorf("a mirror that was closed before the key was changed: got %q, want what it was", got.Value)
	}
	if n.streams.Load() != 1 {
		t.Errorf("%d watches, want 1", n.streams.Load())
	}
}

func TestMirrorsWithOtherOptionsOrPrefixesAreByThemselves(t *testing.T) {
	shared, prefix := etcdtest.New(t)
	log := newRecords()
	var n traffic
	cli := quickClientWith(t, n.options(), shared.Endpoints()...)
	for _, opts := range []*mirror.Options{nil, {ConfirmEvery: time.Second}, {WatchTimeout: time.Second}, {Logger: log.logger()}} {
		open(t, cli, prefix, opts)
	}
	open(t, cli, prefix, &mirror.Options{ConfirmEvery: 2 * time.Second}) // the default
	open(t, cli, prefix+"below/", nil)
	wait(t, open(t, cli, prefix+"else/", nil), put(t, shared, prefix+"else/a", "1"))
	log.wait(t, "mirror fresh", 1)
	if got := n.streams.Load(); got > 6 {
		t.Errorf("%d watches for 7 mirrors, of which 2 are alike: want 6", got)
	}
}

// What was committed before Open is in the copy, also where another mirror has read it long ago
// and its watch is behind.
func TestAMirrorThatJoinsHasWhatWasThereBefore(t *testing.T) {
	shared, prefix := etcdtest.New(t)
	cli := quickClientWith(t, []grpc.DialOption{deaf()}, shared.Endpoints()...)
	opts := &mirror.Options{ConfirmEvery: time.Hour, WatchTimeout: 50 * time.Millisecond}
	first := open(t, cli, prefix, opts)
	put(t, shared, prefix+"a", "1")
	second := open(t, cli, prefix, opts)
	if got, ok := second.Get(prefix + "a"); !ok {
		t.Errorf("the key that was put before Open: got %+v, %v", got, ok)
	}
	if first.Snapshot() != second.Snapshot() {
		t.Error("the two have not the same snapshot, want one copy")
	}
}

// waitedFor says when its end is waited for.
type waitedFor struct {
	context.Context
	begins func()
}

func (w waitedFor) Done() <-chan struct{} {
	w.begins()
	return w.Context.Done()
}

func TestAnOpenThatIsCancelledDoesNotEndAnother(t *testing.T) {
	shared, prefix := etcdtest.New(t)
	g := etcdtest.NewGate(t, "")
	cli := quickClient(t, g.Addr())
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	var wait sync.WaitGroup
	for _, ctx := range []context.Context{ctx, within(t, generous)} {
		wait.Add(1)
		ctx := waitedFor{ctx, sync.OnceFunc(wait.Done)}
		go func() {
			m, err := mirror.Open(ctx, cli, prefix, nil)
			if err == nil {
				defer m.Close()
			}
			ended <- err
		}()
	}
	wait.Wait() // both have the copy
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Open that was cancelled: got %v, want its context's error", err)
	}
	g.SetTarget(shared.Endpoints()[0])
	if err := <-ended; err != nil {
		t.Errorf("Open beside it: %v", err)
	}
}

// Close ends what was begun on this mirror and nothing else, although the copy is another one's, too.
func TestCloseEndsTheChangesOfOneMirrorAndNotOfOthers(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	put(t, cli, prefix+"a", "1")
	closed, other := open(t, cli, prefix, nil), open(t, cli, prefix, nil)
	ctx := within(t, generous)
	all := &mirror.ChangesOptions{From: new(mirror.Snapshot)}
	begun, goesOn := read(t, closed.Changes(ctx, all)), read(t, other.Changes(ctx, all))
	for _, r := range []*reader{begun, goesOn} {
		wantBatch(t, r.batch(), prefix, "~+a=1")
	}
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	wait(t, other, put(t, cli, prefix+"b", "2"))
	wantBatch(t, goesOn.batch(), prefix, "+b=2")
	wantClosed := func(what string, r *reader) {
		t.Helper()
		if b, err, _ := r.next(); !errors.Is(err, mirror.ErrClosed) {
			t.Errorf("%s: got the batch %v, %v, want ErrClosed", what, b, err)
		}
	}
	wantClosed("changes that began before Close", begun)
	wantClosed("changes that begin after Close", read(t, closed.Changes(ctx, nil)))
	again := read(t, closed.Changes(ctx, all))
	wantBatch(t, again.batch(), prefix, "~+a=1")
	wantClosed("changes from nothing, after the last snapshot", again)
	if err := other.Err(); err != nil {
		t.Errorf("the other mirror: got %v, want that it goes on", err)
	}
}

func TestOpenAsksAgainWhereAMirrorIsDenied(t *testing.T) {
	c := etcdtest.NewCluster(t, &cluster.Options{Members: 1, InProcess: true})
	root := etcdtest.EnableAuth(t, c)
	amy := etcdtest.User(t, c, root, "amy", "a/")
	ctx := within(t, 5*generous) // each question checks a password again, which takes seconds under the race detector
	log := newRecords()
	opts := &mirror.Options{ConfirmEvery: 100 * time.Millisecond, Logger: log.logger()}
	open(t, amy, "a/", opts)
	if _, err := root.UserRevokeRole(ctx, "amy", "amy"); err != nil {
		t.Fatal(err)
	}
	log.wait(t, "mirror stale", 1)
	if _, err := mirror.Open(ctx, amy, "a/", opts); !errors.Is(err, mirror.ErrDenied) {
		t.Errorf("Open beside a mirror that is denied: got %v, want ErrDenied", err)
	}
	if _, err := root.UserGrantRole(ctx, "amy", "amy"); err != nil {
		t.Fatal(err)
	}
	m, err := mirror.Open(ctx, amy, "a/", opts)
	if err != nil {
		t.Fatalf("Open once it is allowed again: %v", err)
	}
	m.Close()
}

func TestAClosedClientEndsAllThatStandsOnItsMirrors(t *testing.T) {
	shared, prefix := etcdtest.New(t)
	cli := quickClient(t, shared.Endpoints()...)
	ended := make(chan error)
	waits := 0
	for range 3 {
		m := open(t, cli, prefix, nil)
		for _, call := range []func() error{
			func() error { return m.Wait(t.Context(), 1<<40) },
			func() error {
				for _, err := range m.Changes(t.Context(), nil) {
					if err != nil {
						return err
					}
				}
				return nil
			},
			func() error { <-m.Done(); return m.Err() },
			func() error { <-m.Done(); return m.State().Cause },
		} {
			waits++
			go func() { ended <- call() }()
		}
	}
	began := time.Now()
	cli.Close()
	for range waits {
		if err := <-ended; !errors.Is(err, mirror.ErrClosed) || !strings.Contains(err.Error(), "client was closed") {
			t.Errorf("a call of a mirror whose client was closed: got %v, want ErrClosed, because of the client", err)
		}
	}
	if took := time.Since(began); took > time.Second && !means.Race {
		t.Errorf("they ended after %v, want at once", took)
	}
}

// Close does not wait for etcd.
func TestCloseIsQuickWhileEtcdIsAway(t *testing.T) {
	shared, prefix := etcdtest.New(t)
	g := etcdtest.NewGate(t, shared.Endpoints()[0])
	cli := quickClient(t, g.Addr())
	for _, fault := range []struct {
		name  string
		cause func()
	}{
		{"silent", func() { g.DropAnswers() }},
		{"gone", func() { g.SetTarget("") }},
	} {
		m := open(t, cli, prefix, &mirror.Options{ConfirmEvery: 50 * time.Millisecond, WatchTimeout: 50 * time.Millisecond})
		fault.cause()
		for ctx := within(t, generous); ; {
			turned := m.FreshnessChanged()
			if !m.State().Fresh {
				break
			}
			select {
			case <-turned:
			case <-ctx.Done():
				t.Fatalf("the mirror is fresh while etcd is %s: %+v", fault.name, m.State())
			}
		}
		began := time.Now()
		m.Close()
		if took := time.Since(began); took > 500*time.Millisecond && !means.Race {
			t.Errorf("Close while etcd is %s took %v", fault.name, took)
		}
		g.SetTarget(shared.Endpoints()[0])
	}
}

package grpcresolver_test

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/etcdkit/etcdkit/discovery"
	"github.com/etcdkit/etcdkit/discovery/grpcresolver"
	"github.com/etcdkit/etcdkit/discovery/internal/steady"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/registry"
)

// A process that is stopped keeps its connections and its lease, and answers nothing. The RPCs that
// are under way to it are lost, and no other.
func TestAHungServerIsAvoidedLikeADeadOneAndUsedAgainWhenItGoesOn(t *testing.T) {
	t.Parallel()
	c := etcdtest.NewCluster(t, nil)
	cli := etcdtest.Client(t, c)
	hung, rest := spawn(t, c, time.Minute), spawn(t, c, time.Minute)
	conn := dial(t, cli, discovery.Options{}, balanced(grpcresolver.Name))
	until(t, conn, &server{addr: hung.addr}, &server{addr: rest.addr})
	const rate, deadline, forSo = 200, 500 * time.Millisecond, 4500 * time.Millisecond
	calls := steady.Start(t, rate, func() (string, error) {
		ctx, cancel := context.WithTimeout(context.Background(), deadline)
		defer cancel()
		return call(ctx, conn)
	})
	stopped := time.Now()
	hung.signal(t, syscall.SIGSTOP)
	for ctx := bounded(t); time.Since(stopped) < forSo; {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			t.Fatal(ctx.Err())
		}
	}
	all := calls.All()
	for _, c := range all {
		if c.Err != nil && status.Code(c.Err) != codes.DeadlineExceeded {
			t.Errorf("an RPC failed by %v, want its deadline", c.Err)
		}
	}
	all = slices.DeleteFunc(all, func(c steady.Call) bool { return c.Err != nil && c.By == rest.addr }) // the machine stood still
	failed, late, first := steady.Failures(all, func(steady.Call) bool { return true })
	t.Logf("%d of %d RPCs failed in %v, the first %v after it was stopped; %d of those that began after that",
		failed, len(all), forSo, first.Sub(stopped).Round(time.Millisecond), late)
	if failed == 0 {
		t.Fatal("void: no RPC met the hung server")
	}
	if late > 0 {
		t.Errorf("%d RPCs failed that began after the first failure, want none", late)
	}
	if most := int(rate * deadline.Seconds()); failed > most {
		t.Errorf("%d RPCs failed, want %d at most, those of one deadline", failed, most)
	}
	resumed := time.Now()
	hung.signal(t, syscall.SIGCONT)
	for ctx := bounded(t); calls.Answered(hung.addr, resumed) < rate/4; {
		if ctx.Err() != nil {
			t.Fatal("it goes on, and gets no RPC")
		}
		<-time.After(10 * time.Millisecond)
	}
	took := time.Since(resumed)
	t.Logf("it has answered %d RPCs %v after it goes on", rate/4, took.Round(time.Millisecond))
	if took > 5*time.Second {
		t.Errorf("it goes on and is used after %v, want at once", took)
	}
}

// Without other servers there is no reason to avoid it: its answer can still come.
func TestAHungServerThatIsAloneIsAskedOn(t *testing.T) {
	t.Parallel()
	c := etcdtest.NewCluster(t, nil)
	cli := etcdtest.Client(t, c)
	alone := spawn(t, c, time.Minute)
	conn := dial(t, cli, discovery.Options{}, balanced(grpcresolver.Name))
	until(t, conn, &server{addr: alone.addr})
	alone.signal(t, syscall.SIGSTOP)
	for missed, all := 0, bounded(t); missed < 4; { // the first one may be quicker than the signal
		ctx, cancel := context.WithTimeout(all, 400*time.Millisecond)
		_, err := call(ctx, conn)
		cancel()
		switch {
		case status.Code(err) == codes.DeadlineExceeded && all.Err() == nil:
			missed++
		case err != nil || missed > 0:
			t.Fatalf("while it is stopped: %v, want the deadline", err)
		}
	}
	answer := make(chan error, 1)
	go func() {
		_, err := call(bounded(t), conn)
		answer <- err
	}()
	alone.signal(t, syscall.SIGCONT)
	if err := <-answer; err != nil {
		t.Errorf("once it goes on: %v", err)
	}
	until(t, conn, &server{addr: alone.addr})
}

// list is a method of the servers that can hang while health checks are answered, and the other way round.
func list(ctx context.Context, conn *grpc.ClientConn) (addr string, err error) {
	var p peer.Peer
	_, err = healthpb.NewHealthClient(conn).List(ctx, &healthpb.HealthListRequest{}, grpc.Peer(&p))
	if p.Addr != nil {
		addr = p.Addr.String()
	}
	return addr, err
}

// A method that takes longer than its deadline says nothing about a server that answers others, or
// health checks.
func TestADeadlineThatIsTooShortIsNotHeldAgainstAServer(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	r := registrar(t, cli, prefix)
	a, b := serve(t, ""), serve(t, "")
	register(t, r, registry.Instance{ID: "a", Addr: a.addr})
	register(t, r, registry.Instance{ID: "b", Addr: b.addr})
	var log lines
	conn := dial(t, cli, discovery.Options{Prefix: prefix, Logger: log.logger()}, balanced(grpcresolver.Name))
	until(t, conn, a, b)
	for _, s := range []*server{a, b} {
		s.list.Store(true)
	}
	for range 20 {
		ctx, cancel := context.WithTimeout(bounded(t), 20*time.Millisecond)
		if _, err := list(ctx, conn); status.Code(err) != codes.DeadlineExceeded {
			t.Fatalf("void: got %v, want the deadline", err)
		}
		cancel()
		until(t, conn, a, b)
	}
	if n := log.count("avoided"); n > 0 {
		t.Errorf("the log has %d lines that a server is avoided:\n%s", n, log.text())
	}
}

// A server whose handlers hang answers health checks. The third deadline in a row counts, if
// nothing was answered meanwhile.
func TestAServerThatAnswersNothingButHealthChecksIsAvoided(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	r := registrar(t, cli, prefix)
	hung, good := serve(t, ""), serve(t, "")
	register(t, r, registry.Instance{ID: "hung", Addr: hung.addr})
	register(t, r, registry.Instance{ID: "good", Addr: good.addr})
	conn := dial(t, cli, discovery.Options{Prefix: prefix}, balanced(grpcresolver.Name))
	until(t, conn, hung, good)
	hung.list.Store(true)
	began, failed, stalled := time.Now(), 0, 0
	for range 200 {
		ctx, cancel := context.WithTimeout(bounded(t), 50*time.Millisecond)
		switch addr, err := list(ctx, conn); {
		case err != nil && addr == hung.addr:
			failed++
		case err != nil: // the machine stood still: until the good one has answered a probe the other one gets an RPC
			stalled++
		}
		cancel()
	}
	if most := 3 + stalled + int(time.Since(began)/time.Second); failed < 3 || failed > most {
		t.Errorf("%d of 200 RPCs failed in %v, want 3 to %d", failed, time.Since(began), most)
	}
	hung.list.Store(false)
	until(t, conn, hung, good)
}

// A health check of the server's own may wait for what it checks, for ever. The server answers, and gets
// RPCs again after a deadline that was too short.
func TestAServerWhoseHealthCheckBlocksIsNotTakenForHung(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	r := registrar(t, cli, prefix)
	blocked, other := serve(t, ""), serve(t, "")
	register(t, r, registry.Instance{ID: "blocked", Addr: blocked.addr})
	register(t, r, registry.Instance{ID: "other", Addr: other.addr})
	conn := dial(t, cli, discovery.Options{Prefix: prefix}, balanced(grpcresolver.Name))
	until(t, conn, blocked, other)
	checks := blocked.calls.Load()
	blocked.will(func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
	blocked.list.Store(true)
	for all := bounded(t); blocked.calls.Load() == checks; { // until it is asked whether it answers
		ctx, cancel := context.WithTimeout(all, 50*time.Millisecond)
		_, _ = list(ctx, conn)
		cancel()
		if all.Err() != nil {
			t.Fatal("void: no RPC met the server, or it was not asked")
		}
	}
	blocked.list.Store(false)
	for began := time.Now(); ; {
		if addr, err := list(bounded(t), conn); err != nil {
			t.Fatal(err)
		} else if addr == blocked.addr {
			t.Logf("it has an RPC %v later", time.Since(began).Round(time.Millisecond))
			return
		}
		if time.Since(began) > 6*time.Second {
			t.Fatal("the server answers RPCs, and gets none")
		}
	}
}

// An RPC is answered while a probe waits, and the next deadline starts another probe. That has its own second:
// the end of the first one's says nothing.
func TestAProbeDoesNotShortenTheNextOne(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	r := registrar(t, cli, prefix)
	s := serve(t, "")
	register(t, r, registry.Instance{ID: "s", Addr: s.addr})
	var log lines
	conn := dial(t, cli, discovery.Options{Prefix: prefix, Logger: log.logger()}, balanced(grpcresolver.Name))
	until(t, conn, s)
	s.none.Store(true)
	s.will(func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
	exceed := func() {
		s.list.Store(true)
		ctx, cancel := context.WithTimeout(bounded(t), 50*time.Millisecond)
		defer cancel()
		if _, err := list(ctx, conn); status.Code(err) != codes.DeadlineExceeded {
			t.Fatalf("void: got %v, want the deadline", err)
		}
	}
	exceed()
	<-time.After(500 * time.Millisecond)
	s.list.Store(false)
	if _, err := list(bounded(t), conn); err != nil {
		t.Fatal(err)
	}
	if log.count("avoided") > 0 {
		t.Skip("void: this machine took a second for half of one")
	}
	began := time.Now()
	exceed()
	for all := bounded(t); log.count("avoided") == 0; {
		select {
		case <-time.After(5 * time.Millisecond):
		case <-all.Done():
			t.Fatal("the server answers nothing, and is not avoided")
		}
	}
	if took := time.Since(began); took < time.Second {
		t.Errorf("it is avoided %v after it was last known to be well, want a second or more", took)
	}
}

// A machine is gone, and resets nothing. Another process is at its address soon after: it is not taken for the
// one that hung, and RPCs do not go to the connection of that.
func TestAProcessAtTheAddressOfOneThatHungIsUsed(t *testing.T) {
	for _, policy := range []string{grpcresolver.Name, "round_robin"} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			cli, prefix := etcdtest.New(t)
			hung, good := serve(t, ""), serve(t, "")
			up(t, cli, prefix, hung, "hung", 1)
			up(t, cli, prefix, good, "good", 2)
			var log lines
			conn := dial(t, cli, discovery.Options{Prefix: prefix, Logger: log.logger()}, balanced(policy))
			until(t, conn, hung, good)
			briefly := func() (string, error) {
				ctx, cancel := context.WithTimeout(bounded(t), 200*time.Millisecond)
				defer cancel()
				return call(ctx, conn)
			}
			hung.lose()
			for all, met := bounded(t), false; !met || policy == grpcresolver.Name && log.count("avoided") == 0; {
				_, err := briefly()
				met = met || status.Code(err) == codes.DeadlineExceeded
				if all.Err() != nil {
					t.Fatalf("void: no RPC met the server that hangs, or it is not avoided: %v", err)
				}
			}
			up(t, cli, prefix, hung, "hung", 3)
			for back := time.Now(); ; {
				addr, err := briefly()
				if err == nil && addr == hung.addr {
					t.Logf("the next process is used after %v", time.Since(back).Round(time.Millisecond))
					return
				}
				if time.Since(back) > 6*time.Second {
					t.Fatalf("the next process at the address gets no RPC; the last one: %q, %v", addr, err)
				}
			}
		})
	}
}

// due is a context whose deadline comes when a test says so.
type due struct {
	context.Context
	over <-chan struct{}
}

func (d due) Done() <-chan struct{} { return d.over }

func (d due) Err() error {
	select {
	case <-d.over:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

// RPCs that are under way to the one that hung end with their deadlines when another process is there already.
func TestAnRPCToTheOneThatHungIsNotHeldAgainstTheNextProcess(t *testing.T) {
	const each = 8
	cli, prefix := etcdtest.New(t)
	hung, good := serve(t, ""), serve(t, "")
	up(t, cli, prefix, hung, "hung", 1)
	up(t, cli, prefix, good, "good", 2)
	var log lines
	conn := dial(t, cli, discovery.Options{Prefix: prefix, Logger: log.logger()}, balanced(grpcresolver.Name))
	until(t, conn, hung, good)
	hung.lose()
	var calls sync.WaitGroup
	var missed atomic.Int32
	deadline := make(chan struct{})
	for range 2 * each {
		calls.Go(func() { // ends with the deadline
			if _, err := call(due{t.Context(), deadline}, conn); status.Code(err) == codes.DeadlineExceeded {
				missed.Add(1)
			}
		})
	}
	conns := hung.conns.Load()
	up(t, cli, prefix, hung, "hung", 3)
	for all := bounded(t); hung.conns.Load() == conns; { // until it is connected to
		select {
		case <-time.After(5 * time.Millisecond):
		case <-all.Done():
			t.Fatal("the next process is not connected to")
		}
	}
	close(deadline)
	calls.Wait()
	if missed.Load() < 3 {
		t.Fatalf("void: %d RPCs met the server that hangs, want 3 or more", missed.Load())
	}
	if n := log.count("avoided"); n > 0 {
		t.Errorf("the log has %d lines that a server is avoided:\n%s", n, log.text())
	}
}

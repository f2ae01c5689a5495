package grpcresolver_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/etcdkit/etcdkit/discovery"
	"github.com/etcdkit/etcdkit/discovery/grpcresolver"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/registry"
)

// outcome is an RPC with a deadline.
type outcome struct {
	began, ended time.Time
	addr         string
	err          error
}

// record makes RPCs with a deadline, so many a second, until it is stopped.
func record(t *testing.T, conn *grpc.ClientConn, rate int, deadline time.Duration) (soFar func() []outcome) {
	t.Helper()
	var mu sync.Mutex
	var all []outcome
	var calls sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	calls.Go(func() { // ends with the test
		tick := time.NewTicker(time.Second / time.Duration(rate))
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
			calls.Go(func() { // ends with its deadline
				o := outcome{began: time.Now()}
				ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), deadline)
				defer cancel()
				o.addr, o.err = call(ctx, conn)
				o.ended = time.Now()
				mu.Lock()
				defer mu.Unlock()
				all = append(all, o)
			})
		}
	})
	t.Cleanup(func() {
		stop()
		calls.Wait()
	})
	return func() []outcome {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(all)
	}
}

// A process that is stopped keeps its connections and its lease, and answers nothing. The RPCs that
// are under way to it are lost, and no other.
func TestAHungServerIsAvoidedLikeADeadOneAndUsedAgainWhenItGoesOn(t *testing.T) {
	c := etcdtest.NewCluster(t, nil)
	cli := etcdtest.Client(t, c)
	hung, rest := spawn(t, c, time.Minute), spawn(t, c, time.Minute)
	conn := dial(t, cli, discovery.Options{}, balanced(grpcresolver.Name))
	until(t, conn, &server{addr: hung.addr}, &server{addr: rest.addr})
	const rate, deadline, forSo = 200, 500 * time.Millisecond, 4500 * time.Millisecond
	calls := record(t, conn, rate, deadline)
	stopped := time.Now()
	hung.signal(t, syscall.SIGSTOP)
	answered := func(since time.Time, by string) (n int) {
		for _, o := range calls() {
			if o.err == nil && o.addr == by && o.ended.After(since) {
				n++
			}
		}
		return n
	}
	for ctx := bounded(t); time.Since(stopped) < forSo; {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			t.Fatal(ctx.Err())
		}
	}
	var first time.Time // failure
	failed, late := 0, 0
	for _, o := range calls() {
		switch {
		case o.err == nil:
		case status.Code(o.err) != codes.DeadlineExceeded:
			t.Errorf("an RPC failed by %v, want its deadline", o.err)
		case o.addr == rest.addr: // the machine stood still
		default:
			if failed++; first.IsZero() || o.ended.Before(first) {
				first = o.ended
			}
		}
	}
	const moment = 50 * time.Millisecond
	for _, o := range calls() {
		if o.err != nil && o.addr != rest.addr && o.began.After(first.Add(moment)) {
			late++
		}
	}
	t.Logf("%d of %d RPCs failed in %v, the first %v after it was stopped; %d of those that began after that",
		failed, len(calls()), forSo, first.Sub(stopped).Round(time.Millisecond), late)
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
	for ctx := bounded(t); answered(resumed, hung.addr) < rate/4; {
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

// With nobody else there is no reason to avoid it: its answer can still come.
func TestAHungServerThatIsAloneIsAskedOn(t *testing.T) {
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
	began, failed := time.Now(), 0
	for range 200 {
		ctx, cancel := context.WithTimeout(bounded(t), 50*time.Millisecond)
		if addr, err := list(ctx, conn); err != nil && addr == hung.addr {
			failed++
		}
		cancel()
	}
	if most := 3 + int(time.Since(began)/time.Second); failed < 3 || failed > most {
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

// up registers a server by its record.
func up(t testing.TB, cli *clientv3.Client, prefix string, s *server, id string, pid int) {
	t.Helper()
	record := fmt.Sprintf(`{"Addr":%q,"Metadata":{"weight":1,"status":"passing","host":"vm","pid":%d}}`, s.addr, pid)
	if _, err := cli.Put(bounded(t), prefix+"web/"+id, record); err != nil {
		t.Fatal(err)
	}
}

// gRPC's back-off is a minute here. A registration anew ends it.
func TestServersThatComeBackAreConnectedToAtOnce(t *testing.T) {
	slow := grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.Config{BaseDelay: time.Minute, Multiplier: 1, MaxDelay: time.Minute}, MinConnectTimeout: time.Second})
	for _, policy := range policies {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			cli, prefix := etcdtest.New(t)
			var servers []*server
			up := func(pid int) {
				lease, err := cli.Grant(bounded(t), 600)
				if err != nil {
					t.Fatal(err)
				}
				for n, s := range servers {
					pid := pid + n
					if n == 0 && policy == grpcresolver.Name {
						pid = 1 // registered anew by the same process
					}
					record := fmt.Sprintf(`{"Addr":%q,"Metadata":{"weight":1,"status":"passing","host":"vm","pid":%d}}`, s.addr, pid)
					if _, err := cli.Put(bounded(t), fmt.Sprintf("%sweb/%d", prefix, n), record, clientv3.WithLease(lease.ID)); err != nil {
						t.Fatal(err)
					}
				}
				t.Cleanup(func() { _, _ = cli.Revoke(context.Background(), lease.ID) })
			}
			for range 3 {
				servers = append(servers, serve(t, ""))
			}
			up(1)
			conn := dial(t, cli, discovery.Options{Prefix: prefix}, balanced(policy), slow)
			want := servers
			if policy == "pick_first" {
				want = nil // any one
			}
			untilSome(t, conn, want)
			v, err := discovery.Open(bounded(t), cli, "web", &discovery.Options{Prefix: prefix})
			if err != nil {
				t.Fatal(err)
			}
			defer v.Close()
			for n, s := range servers {
				s.grpc.Stop()
				if _, err := cli.Delete(bounded(t), fmt.Sprintf("%sweb/%d", prefix, n)); err != nil {
					t.Fatal(err)
				}
			}
			for ctx := bounded(t); ; { // each has been tried, and its back-off has begun
				_, err := call(ctx, conn)
				if status.Code(err) == codes.Unavailable && strings.Contains(err.Error(), "refused") && v.State().Kept == len(servers) {
					break
				}
				if ctx.Err() != nil {
					t.Fatalf("got %v, %d are kept; want that connections are refused", err, v.State().Kept)
				}
			}
			for n, s := range servers {
				servers[n] = serve(t, s.addr)
			}
			back := time.Now()
			up(11)
			if policy != "pick_first" {
				want = servers
			}
			untilSome(t, conn, want)
			took := time.Since(back)
			t.Logf("all are used %v after they are registered", took.Round(time.Millisecond))
			if took > 3*time.Second {
				t.Errorf("they are used %v after they are registered again, want at once", took)
			}
		})
	}
}

// untilSome waits until all of the servers answer, or if there are none, until any server does.
func untilSome(t testing.TB, conn *grpc.ClientConn, servers []*server) {
	t.Helper()
	if len(servers) > 0 {
		until(t, conn, servers...)
		return
	}
	for ctx := bounded(t); ; {
		_, err := call(ctx, conn)
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
	}
}

// Registrations expire all at once and are there again, and the processes have lived all the time.
func TestARegistrationAnewOfTheSameProcessKeepsItsConnection(t *testing.T) {
	for _, policy := range policies {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			cli, prefix := etcdtest.New(t)
			servers := []*server{serve(t, ""), serve(t, "")}
			up := func() clientv3.LeaseID {
				lease, err := cli.Grant(bounded(t), 600)
				if err != nil {
					t.Fatal(err)
				}
				for n, s := range servers {
					record := fmt.Sprintf(`{"Addr":%q,"Metadata":{"weight":1,"status":"passing","host":"vm","pid":%d}}`, s.addr, n+1)
					if _, err := cli.Put(bounded(t), fmt.Sprintf("%sweb/%d", prefix, n), record, clientv3.WithLease(lease.ID)); err != nil {
						t.Fatal(err)
					}
				}
				return lease.ID
			}
			lease := up()
			want := servers
			if policy == "pick_first" {
				want = nil
			}
			conn := dial(t, cli, discovery.Options{Prefix: prefix}, balanced(policy))
			untilSome(t, conn, want)
			accepted := func() (n int64) {
				for _, s := range servers {
					n += s.conns.Load()
				}
				return n
			}
			before := accepted()
			cc := newRecorder()
			watched := build(t, grpcresolver.New(cli, &grpcresolver.Options{View: discovery.Options{Prefix: prefix}}), cc)
			defer watched.Close()
			for range 3 {
				cc.untilList(t, "0/1//passing 1/1//passing")
				if _, err := cli.Revoke(bounded(t), lease); err != nil {
					t.Fatal(err)
				}
				cc.untilList(t, "0/1//expired 1/1//expired")
				lease = up()
			}
			cc.untilList(t, "0/1//passing 1/1//passing")
			for range 100 {
				if _, err := call(bounded(t), conn); err != nil {
					t.Error(err)
				}
			}
			if after := accepted(); after != before {
				t.Errorf("the servers have accepted %d connections, want the %d that there were", after, before)
			}
		})
	}
}

// Everybody has been killed, and the last ones are kept for a while: that they refuse connections is
// not what is wrong.
func TestWhenThoseThatExpiredAreDeadRPCsSayThatNobodyIsRegistered(t *testing.T) {
	c := etcdtest.NewCluster(t, nil)
	cli := etcdtest.Client(t, c)
	one, two := spawn(t, c, 2*time.Second), spawn(t, c, 2*time.Second)
	conn := dial(t, cli, discovery.Options{}, balanced(grpcresolver.Name))
	until(t, conn, &server{addr: one.addr}, &server{addr: two.addr})
	for _, p := range []*process{one, two} {
		p.signal(t, os.Kill)
	}
	for ctx := bounded(t); ; {
		_, err := call(ctx, conn)
		if status.Code(err) == codes.Unavailable && strings.Contains(err.Error(), `no instance of "web" is registered any more`) {
			t.Log(err)
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("got %v, want that nobody is registered", err)
		}
	}
}

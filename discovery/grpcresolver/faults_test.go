package grpcresolver_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/discovery"
	"github.com/etcdkit/etcdkit/discovery/grpcresolver"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/registry"
)

// serverEnv makes this test binary a process that serves, and registers itself at the endpoints
// that it names, says its address and waits: something to kill.
const serverEnv = "ETCDKIT_TEST_SERVER"

// addrEnv and ttlEnv are its address, and the TTL of its registration.
const (
	addrEnv = "ETCDKIT_TEST_ADDR"
	ttlEnv  = "ETCDKIT_TEST_TTL"
)

func runServer() int {
	if err := serveAlone(strings.Split(os.Getenv(serverEnv), ",")); err != nil {
		fmt.Println("failed:", err)
		return 1
	}
	_, _ = io.Copy(io.Discard, os.Stdin) // until the test ends
	return 0
}

func serveAlone(endpoints []string) error {
	cli, err := clientv3.New(clientv3.Config{Endpoints: endpoints, Logger: zap.NewNop()})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", os.Getenv(addrEnv))
	if err != nil {
		return err
	}
	ttl, err := time.ParseDuration(os.Getenv(ttlEnv))
	if err != nil {
		return err
	}
	s := grpc.NewServer()
	healthpb.RegisterHealthServer(s, &server{})
	go s.Serve(l) // ends with the process
	_, err = registry.Register(context.Background(), cli, registry.Instance{
		Service: "web", ID: fmt.Sprint(os.Getpid()), Addr: l.Addr().String(),
	}, &registry.Options{TTL: ttl})
	if err == nil {
		fmt.Println(l.Addr())
	}
	return err
}

// process is a server in a process of its own.
type process struct {
	*exec.Cmd
	addr string
}

func (p *process) signal(t testing.TB, sig os.Signal) {
	t.Helper()
	if err := p.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
}

func spawn(t *testing.T, c *cluster.Cluster, ttl time.Duration) *process {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{Cmd: exec.Command(exe)}
	p.Env = append(os.Environ(), serverEnv+"="+strings.Join(c.Endpoints(), ","), ttlEnv+"="+ttl.String(),
		addrEnv+"="+etcdtest.Addr(t)) // nothing else listens there when it has been killed
	out, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.Process.Kill() // or it was
		_ = p.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if _, _, bad := net.SplitHostPort(strings.TrimSpace(line)); err != nil || bad != nil {
		t.Fatalf("the process said %q, %v", line, err)
	}
	p.addr = strings.TrimSpace(line)
	return p
}

// Of a process that is killed only the RPC that was under way fails, on each connection; with a
// retryPolicy none does.
func TestAKilledServerCostsAConnectionOneRPCAtMost(t *testing.T) {
	t.Parallel()
	c := etcdtest.NewCluster(t, nil)
	cli := etcdtest.Client(t, c)
	const retrying = `{"loadBalancingConfig":[{"etcdkit":{}}],"methodConfig":[{"name":[{}],"retryPolicy":{
		"maxAttempts":3,"initialBackoff":"0.01s","maxBackoff":"0.1s","backoffMultiplier":2,"retryableStatusCodes":["UNAVAILABLE"]}}]}`
	servers := make(map[string]*process)
	for range 4 {
		p := spawn(t, c, 2*time.Second)
		servers[p.addr] = p
	}
	builder := grpcresolver.New(cli, nil)
	loads := make(map[string]*load)
	for name, option := range map[string]grpc.DialOption{
		"etcdkit": balanced(grpcresolver.Name), "round_robin": balanced("round_robin"), "retrying": grpc.WithDefaultServiceConfig(retrying),
	} {
		loads[name] = begin(t, 4, 800, func() *grpc.ClientConn { return dialWith(t, builder, "etcdkit:///web", option) })
	}
	for _, l := range loads { // each connection has all its connections
		for len(l.more(t, 200)) < len(servers) {
		}
	}
	for _, l := range loads {
		if n, err := l.worst(); n > 0 {
			t.Fatalf("void: before a process was killed RPCs failed: %v", err)
		}
	}
	const kills = 3
	for addr, p := range servers {
		if err := p.Process.Kill(); err != nil { // SIGKILL
			t.Fatal(err)
		}
		_ = p.Wait() // killed, it says
		delete(servers, addr)
		for name, l := range loads {
			if by := l.more(t, 400); by[addr] > 40 {
				t.Errorf("%s: after it was killed %s answers: %v", name, addr, by)
			}
		}
		if len(servers) == 4-kills {
			break
		}
	}
	for name, l := range loads {
		n, err := l.worst()
		most := kills
		if name == "retrying" {
			most = 0
		}
		if n > most {
			t.Errorf("%s: %d RPCs of one connection failed in %d kills, want %d at most: %v", name, n, kills, most, err)
		}
		for _, err := range l.failures() {
			if status.Code(err) != codes.Unavailable {
				t.Errorf("%s: %v, want Unavailable", name, err)
			}
		}
		t.Logf("%s: %d RPCs failed on 4 connections in %d kills", name, len(l.failures()), kills)
	}
	fresh := spawn(t, c, 2*time.Second)
	for name, l := range loads {
		for l.more(t, 100)[fresh.addr] == 0 {
			if t.Context().Err() != nil {
				t.Fatalf("%s: a new process gets no RPC", name)
			}
		}
	}
}

// Servers come and go, each with Drain and GracefulStop, while etcd's members are killed and
// paused one after the other: no RPC fails.
func TestServersThatDrainAndAnEtcdThatFailsCostNoRPC(t *testing.T) {
	t.Parallel()
	c := etcdtest.NewCluster(t, nil)
	cli := etcdtest.Client(t, c)
	r := registrar(t, cli, "")
	type member struct {
		*server
		reg *registry.Registration
	}
	next := 0
	start := func() member {
		s := serve(t, "")
		next++
		return member{s, register(t, r, registry.Instance{ID: fmt.Sprint("s", next), Addr: s.addr})}
	}
	serving := []member{start(), start(), start()}
	builder := grpcresolver.New(cli, nil)
	const rate = 2000
	conns := 0
	l := begin(t, 8, rate, func() *grpc.ClientConn {
		conns++
		return dialWith(t, builder, "etcdkit:///web", balanced([]string{grpcresolver.Name, "round_robin"}[conns%2]))
	})
	began := time.Now()
	roll := func() { // each server is replaced
		for n, old := range serving {
			serving[n] = start()
			for l.more(t, 50)[serving[n].addr] == 0 { // it is in use
			}
			if err := old.reg.Drain(bounded(t), "rolling update"); err != nil {
				t.Fatal(err)
			}
			old.grpc.GracefulStop()
			if err := old.reg.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	roll()
	for _, name := range c.Names() {
		for _, fault := range []struct {
			what     string
			do, undo func(context.Context, string) (*cluster.Change, error)
		}{
			{"kill", c.Kill, c.Start},
			{"pause", c.Pause, c.Resume},
		} {
			if _, err := fault.do(bounded(t), name); err != nil {
				t.Fatal(err)
			}
			l.more(t, 400)
			roll()
			if _, err := fault.undo(bounded(t), name); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, name := range c.Names() { // the list may be out of date, and RPCs do not depend on it
		if _, err := c.Pause(bounded(t), name); err != nil {
			t.Fatal(err)
		}
	}
	l.more(t, 3*rate)
	for _, name := range c.Names() {
		if _, err := c.Resume(bounded(t), name); err != nil {
			t.Fatal(err)
		}
	}
	roll()
	l.end()
	if errs := l.failures(); len(errs) > 0 {
		t.Errorf("%d of %d RPCs failed: %v …", len(errs), l.calls, errs[0])
	}
	t.Logf("%d RPCs in %v, %d servers", l.calls, time.Since(began).Round(time.Second), next)
}

// Most registrations vanish at once, as after an outage of etcd that was longer than their TTL:
// the instances are alive, and stay in use.
func TestMassExpiryCostsNoRPC(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	lease, err := cli.Grant(bounded(t), 60)
	if err != nil {
		t.Fatal(err)
	}
	var servers []*server
	for n := range 4 {
		s := serve(t, "")
		servers = append(servers, s)
		record := fmt.Sprintf(`{"Addr":%q,"Metadata":{"weight":1,"status":"passing","host":"vm","pid":7}}`, s.addr)
		if _, err := cli.Put(bounded(t), fmt.Sprintf("%sweb/%d", prefix, n), record, clientv3.WithLease(lease.ID)); err != nil {
			t.Fatal(err)
		}
	}
	view := discovery.Options{Prefix: prefix}
	l := begin(t, 4, 800, func() *grpc.ClientConn { return dial(t, cli, view, balanced(grpcresolver.Name)) })
	cc := newRecorder()
	watched := build(t, grpcresolver.New(cli, &grpcresolver.Options{View: view}), cc)
	defer watched.Close()
	for len(l.more(t, 100)) < len(servers) {
	}
	if _, err := cli.Revoke(bounded(t), lease.ID); err != nil {
		t.Fatal(err)
	}
	cc.untilList(t, "0/1//expired 1/1//expired 2/1//expired 3/1//expired")
	if by := l.more(t, 800); len(by) != len(servers) {
		t.Errorf("answers %v, want all %d", by, len(servers))
	}
	l.end()
	if errs := l.failures(); len(errs) > 0 {
		t.Errorf("%d of %d RPCs failed: %v …", len(errs), l.calls, errs[0])
	}
}

// An empty list may be out of date.
func TestAnEmptyListIsSaidToBeStaleWhenItIs(t *testing.T) {
	t.Parallel()
	c := etcdtest.NewCluster(t, &cluster.Options{Members: 1})
	conn := dial(t, etcdtest.Client(t, c), discovery.Options{}, balanced("round_robin"))
	says := func(want string) {
		t.Helper()
		for ctx := bounded(t); ; {
			_, err := call(ctx, conn)
			if status.Code(err) != codes.Unavailable {
				t.Fatalf("got %v, want Unavailable", err)
			}
			if strings.Contains(err.Error(), want) {
				return
			}
			select {
			case <-time.After(10 * time.Millisecond):
			case <-ctx.Done():
				t.Fatalf("got %v, want %q", err, want)
			}
		}
	}
	says("as etcd confirms")
	if _, err := c.Pause(bounded(t), c.Names()[0]); err != nil {
		t.Fatal(err)
	}
	says("etcd has not been reached since then: not confirmed")
	if _, err := c.Resume(bounded(t), c.Names()[0]); err != nil {
		t.Fatal(err)
	}
	says("as etcd confirms")
}

// A permission that is missing, and given later, is not a reason to give up.
func TestAConnectionWithoutTheRightSaysSoAndTriesOn(t *testing.T) {
	t.Parallel()
	c := etcdtest.NewCluster(t, &cluster.Options{Members: 1, InProcess: true})
	root := etcdtest.EnableAuth(t, c)
	cli := etcdtest.User(t, c, root, "amy", "")
	s := serve(t, "")
	put(t, root, "/services/web/a", s.addr)
	conn := dial(t, cli, discovery.Options{})
	if _, err := call(bounded(t), conn); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "permission denied") {
		t.Errorf("got %v, want Unavailable because of the permission", err)
	}
	answered := make(chan error, 1)
	go func() {
		_, err := call(bounded(t), conn, grpc.WaitForReady(true))
		answered <- err
	}()
	if _, err := root.RoleGrantPermission(bounded(t), "amy", "/services/", clientv3.GetPrefixRangeEnd("/services/"), clientv3.PermissionType(clientv3.PermReadWrite)); err != nil {
		t.Fatal(err)
	}
	if err := <-answered; err != nil {
		t.Errorf("an RPC that waits for ready: %v", err)
	}
	until(t, conn, s)
}

// A list that can never change again is not used: RPCs say at once what has happened, those that
// would wait for ready as well, and what was under way is finished.
func TestWhenTheClientIsClosedRPCsSaySoAtOnce(t *testing.T) {
	for _, policy := range policies {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			shared, prefix := etcdtest.New(t)
			cli, err := clientv3.New(clientv3.Config{Endpoints: shared.Endpoints(), Logger: zap.NewNop()})
			if err != nil {
				t.Fatal(err)
			}
			s := serve(t, "")
			put(t, shared, prefix+"web/a", s.addr)
			builder := grpcresolver.New(cli, &grpcresolver.Options{View: discovery.Options{Prefix: prefix}})
			conn, empty := dialWith(t, builder, "etcdkit:///web", balanced(policy)), dialWith(t, builder, "etcdkit:///empty", balanced(policy))
			until(t, conn, s)
			if _, err := call(bounded(t), empty); status.Code(err) != codes.Unavailable {
				t.Fatalf("void: a service without an instance: %v", err)
			}
			begun, goOn := make(chan struct{}), make(chan struct{})
			once := sync.OnceFunc(func() { close(begun) })
			s.will(func(context.Context) error {
				once()
				<-goOn
				return nil
			})
			underWay, waits := make(chan error, 1), make(chan error, 1)
			go func() {
				_, err := call(bounded(t), conn)
				underWay <- err
			}()
			<-begun
			go func() {
				_, err := call(bounded(t), empty, grpc.WaitForReady(true))
				waits <- err
			}()
			if err := cli.Close(); err != nil {
				t.Fatal(err)
			}
			closed := time.Now()
			for what, conn := range map[string]*grpc.ClientConn{
				"with a list": conn, "with an empty list": empty, "a new one": dialWith(t, builder, "etcdkit:///other", balanced(policy)),
			} {
				untilClosed(t, what, conn)
			}
			if took := time.Since(closed); took > 5*time.Second {
				t.Errorf("it took %v until RPCs say that the client is closed", took)
			}
			if policy == grpcresolver.Name { // gRPC's own cannot end them
				if err := <-waits; status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "the etcd client was closed") {
					t.Errorf("an RPC that waits for ready: got %v, want that the client was closed", err)
				}
			}
			close(goOn)
			if err := <-underWay; err != nil {
				t.Errorf("an RPC that was under way: %v", err)
			}
			if err := empty.Close(); err != nil {
				t.Fatal(err)
			}
			if policy != grpcresolver.Name {
				<-waits
			}
		})
	}
}

// untilClosed waits until RPCs say that the etcd client was closed.
func untilClosed(t testing.TB, what string, conn *grpc.ClientConn) {
	t.Helper()
	for ctx := bounded(t); ; {
		one, cancel := context.WithTimeout(ctx, time.Second) // the server answers no more
		_, err := call(one, conn)
		cancel()
		if status.Code(err) == codes.Unavailable && strings.Contains(err.Error(), "the etcd client was closed") {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("%s: got %v, want that the etcd client was closed", what, err)
		}
	}
}

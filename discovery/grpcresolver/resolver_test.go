package grpcresolver_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	_ "google.golang.org/grpc/balancer/leastrequest"
	_ "google.golang.org/grpc/balancer/ringhash"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/status"

	"github.com/etcdkit/etcdkit/discovery"
	"github.com/etcdkit/etcdkit/discovery/grpcresolver"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/registry"
)

// policies are gRPC's, and ours. weighted_round_robin is built as round_robin is; it would bring
// modules (xds) for this test alone.
var policies = []string{"pick_first", "round_robin", "least_request_experimental", ringHash, grpcresolver.Name}

const ringHash = "ring_hash_experimental"

func put(t testing.TB, cli *clientv3.Client, key, value string) {
	t.Helper()
	if _, err := cli.Put(bounded(t), key, value); err != nil {
		t.Fatal(err)
	}
}

func TestAConnectionFollowsRegistrationsWithEveryPolicy(t *testing.T) {
	for _, policy := range policies {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			cli, prefix := etcdtest.New(t)
			r := registrar(t, cli, prefix)
			a, b := serve(t, ""), serve(t, "")
			regA := register(t, r, registry.Instance{ID: "a", Addr: a.addr})
			conn := dial(t, cli, discovery.Options{Prefix: prefix}, balanced(policy))
			until(t, conn, a)
			register(t, r, registry.Instance{ID: "b", Addr: b.addr})
			if policy != "pick_first" {
				until(t, conn, a, b)
			}
			if err := regA.Drain(bounded(t), "test"); err != nil {
				t.Fatal(err)
			}
			until(t, conn, b)
		})
	}
}

// An RPC says immediately which service has no instance, and one that waits for ready gets its answer in the end:
// before an instance was registered, and after all have left.
func TestWithoutARegisteredInstanceRPCsFailAndSaySo(t *testing.T) {
	for _, policy := range policies {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			cli, prefix := etcdtest.New(t)
			r := registrar(t, cli, prefix)
			conn := dial(t, cli, discovery.Options{Prefix: prefix}, balanced(policy))
			s := serve(t, "")
			for _, when := range []string{"no instance was there yet", "all have left"} {
				ctx := bounded(t)
				for {
					_, err := call(ctx, conn)
					if err == nil && when == "all have left" {
						continue
					}
					if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), `no instance of "web" is registered, as etcd confirms`) {
						t.Errorf("%s: got %v, want Unavailable that says so, and that it is fresh", when, err)
					}
					break
				}
				answered := make(chan error, 1)
				go func() {
					_, err := call(ctx, conn, grpc.WaitForReady(true))
					answered <- err
				}()
				reg := register(t, r, registry.Instance{ID: "a", Addr: s.addr})
				if err := <-answered; err != nil {
					t.Errorf("%s, and it waits for ready: %v", when, err)
				}
				if err := reg.Close(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func TestBadTargetsAreRefusedBeforeAnythingIsSent(t *testing.T) {
	cli, _ := etcdtest.New(t)
	b := grpcresolver.New(cli, nil)
	for bad, say := range map[string]string{
		"etcdkit://web":           "three slashes",
		"etcdkit://etcd:2379/web": "three slashes",
		"etcdkit://amy@/web":      "three slashes",
		"etcdkit:":                "no service",
		"etcdkit:///":             "no service",
		"etcdkit:////web":         "no slash",
		"etcdkit:///a/b":          "no slash",
		"etcdkit:///a%2Fb":        "no slash",
		"etcdkit:///a%20b":        "no slash, space",
		"etcdkit:///..":           "path",
		"etcdkit:///web?zone=a":   "no parameters",
	} {
		cc := newRecorder()
		r, err := b.Build(target(t, bad), cc, resolver.BuildOptions{})
		if r != nil || !errors.Is(err, grpcresolver.ErrInvalid) || !strings.Contains(fmt.Sprint(err), say) {
			t.Errorf("%s: got %v, %v; want ErrInvalid that says %q", bad, r, err, say)
		}
	}
	if _, err := b.Build(target(t, "etcdkit:///a/b"), newRecorder(), resolver.BuildOptions{}); !errors.Is(err, registry.ErrInvalid) {
		t.Errorf("a bad name: got %v, want registry.ErrInvalid besides", err)
	}
	for _, ok := range []string{"etcdkit:///web", "etcdkit:web", "etcdkit:///a.b-c_d"} {
		r, err := b.Build(target(t, ok), newRecorder(), resolver.BuildOptions{})
		if err != nil {
			t.Errorf("%s: %v", ok, err)
			continue
		}
		r.Close()
	}
	if _, err := call(bounded(t), dialWith(t, b, "etcdkit://web")); !strings.Contains(fmt.Sprint(err), "three slashes") {
		t.Errorf("an RPC: got %v, want the same words", err)
	}
}

// The docs say which policies a program has to import.
func TestAPolicyThatIsNotImportedIsRefused(t *testing.T) {
	cli, _ := etcdtest.New(t)
	conn, err := grpc.NewClient("etcdkit:///web", grpc.WithResolvers(grpcresolver.New(cli, nil)),
		balanced("weighted_round_robin"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err == nil {
		conn.Close()
		t.Error("weighted_round_robin, which is not imported here, is accepted")
	}
}

func TestBadOptionsReachTheRPC(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	conn := dial(t, cli, discovery.Options{Prefix: prefix, Policy: 7})
	if _, err := call(bounded(t), conn); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "policy 7") {
		t.Errorf("got %v, want Unavailable because of the policy", err)
	}
}

// countWatches counts the watches that a client creates.
func countWatches(n *atomic.Int64) grpc.DialOption {
	return grpc.WithChainStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, streamer grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
		s, err := streamer(ctx, desc, cc, method, opts...)
		return &watchCounter{s, n}, err
	})
}

type watchCounter struct {
	grpc.ClientStream
	n *atomic.Int64
}

func (c *watchCounter) SendMsg(m any) error {
	if w, ok := m.(*pb.WatchRequest); ok && w.GetCreateRequest() != nil {
		c.n.Add(1)
	}
	return c.ClientStream.SendMsg(m)
}

func TestConnectionsToOneServiceShareAWatchUntilTheLastIsClosed(t *testing.T) {
	shared, prefix := etcdtest.New(t)
	var watches atomic.Int64
	cli, err := clientv3.New(clientv3.Config{Endpoints: shared.Endpoints(), Logger: zap.NewNop(), DialOptions: []grpc.DialOption{countWatches(&watches)}})
	if err != nil {
		t.Fatal(err)
	}
	defer cli.Close()
	b := grpcresolver.New(cli, &grpcresolver.Options{View: discovery.Options{Prefix: prefix}})
	put(t, shared, prefix+"web/a", "h:1")
	one, two := newRecorder(), newRecorder()
	first, second := build(t, b, one), build(t, b, two)
	one.untilList(t, "a/1//passing")
	two.untilList(t, "a/1//passing")
	for range 3 {
		first.ResolveNow(resolver.ResolveNowOptions{})
	}
	first.Close()
	put(t, shared, prefix+"web/b", "h:2") // the other goes on
	two.untilList(t, "a/1//passing b/1//passing")
	if got := watches.Load(); got != 1 {
		t.Errorf("two connections: %d watches, want 1", got)
	}
	second.Close()
	three := newRecorder()
	third := build(t, b, three)
	put(t, shared, prefix+"web/c", "h:3")
	three.untilList(t, "a/1//passing b/1//passing c/1//passing") // which takes the watch
	third.Close()
	if got := watches.Load(); got != 2 {
		t.Errorf("a connection after all were closed: %d watches in all, want 2", got)
	}
}

// Each Builder has a View of its own, and Views of one client share one copy of the list.
func TestBuildersOfOneClientShareACopy(t *testing.T) {
	shared, prefix := etcdtest.New(t)
	var readings atomic.Int64
	cli, err := clientv3.New(clientv3.Config{Endpoints: shared.Endpoints(), Logger: zap.NewNop(), DialOptions: []grpc.DialOption{
		grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			if r, ok := req.(*pb.RangeRequest); ok && len(r.RangeEnd) > 0 && !r.KeysOnly {
				readings.Add(1)
			}
			return invoke(ctx, method, req, reply, cc, opts...)
		}),
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer cli.Close()
	put(t, shared, prefix+"web/a", "h:1")
	for range 3 {
		cc := newRecorder()
		defer build(t, grpcresolver.New(cli, &grpcresolver.Options{View: discovery.Options{Prefix: prefix}}), cc).Close()
		cc.untilList(t, "a/1//passing")
	}
	if got := readings.Load(); got != 1 {
		t.Errorf("3 builders have read the list %d times, want once", got)
	}
}

func TestConnectionsMayComeAndGoInAnyOrder(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	put(t, cli, prefix+"web/a", "h:1")
	b := grpcresolver.New(cli, &grpcresolver.Options{View: discovery.Options{Prefix: prefix}})
	t.Run("at once", func(t *testing.T) {
		for n := range 8 {
			t.Run(fmt.Sprint(n), func(t *testing.T) {
				t.Parallel()
				for k := range 20 {
					cc := newRecorder()
					r := build(t, b, cc)
					if (n+k)%3 > 0 { // or it is closed while the View is being opened
						cc.untilList(t, "a/1//passing")
					}
					r.Close()
				}
			})
		}
	})
	cc := newRecorder() // what is left behind TestMain finds
	defer build(t, b, cc).Close()
	cc.untilList(t, "a/1//passing")
}

// gRPC closes the resolver of an idle connection, and with the last one goes the View.
func TestAnIdleConnectionComesBackWithTheListOfThen(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	r := registrar(t, cli, prefix)
	a, b := serve(t, ""), serve(t, "")
	reg := register(t, r, registry.Instance{ID: "a", Addr: a.addr})
	conn := dial(t, cli, discovery.Options{Prefix: prefix}, balanced(grpcresolver.Name), grpc.WithIdleTimeout(50*time.Millisecond))
	until(t, conn, a)
	for ctx, s := bounded(t), conn.GetState(); s != connectivity.Idle; s = conn.GetState() {
		if !conn.WaitForStateChange(ctx, s) {
			t.Fatalf("it is %v, want idle", s)
		}
	}
	register(t, r, registry.Instance{ID: "b", Addr: b.addr})
	if err := reg.Close(); err != nil {
		t.Fatal(err)
	}
	until(t, conn, b)
}

func TestGRPCIsToldOfWhatMattersToItAndOfNothingElse(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	value := func(weight int, more string) string {
		return fmt.Sprintf(`{"Addr":"h:1","Metadata":{"weight":%d,"zone":"z","status":"warning"%s}}`, weight, more)
	}
	put(t, cli, prefix+"web/a", value(1, ""))
	cc := newRecorder()
	b := grpcresolver.New(cli, &grpcresolver.Options{View: discovery.Options{Prefix: prefix}})
	r := build(t, b, cc)
	defer r.Close()
	cc.untilList(t, "a/1/z/warning")
	const rounds = 10
	for n := range rounds {
		// What a health check says, and one that takes no requests; and then another weight.
		put(t, cli, prefix+"web/a", value(n+1, fmt.Sprintf(`,"reason":"11 of 12 checks, %d ms"`, n)))
		put(t, cli, prefix+"web/drained", fmt.Sprintf(`{"Addr":"h:2","Metadata":{"weight":%d,"status":"draining"}}`, n+1))
		put(t, cli, prefix+"web/a", value(n+2, ""))
		cc.untilList(t, fmt.Sprintf("a/%d/z/warning", n+2))
	}
	cc.mu.Lock()
	defer cc.mu.Unlock()
	if got := len(cc.states); got != 1+rounds || len(cc.errs) != 0 {
		t.Errorf("%d lists and errors %v, want the first and one for each of %d weights", got, cc.errs, rounds)
	}
	was, now := cc.states[0], cc.states[1]
	if a, b := was.Endpoints[0].Addresses[0], now.Endpoints[0].Addresses[0]; !a.Equal(b) {
		t.Errorf("another weight made another address: %v, %v", a, b)
	}
	if was.Endpoints[0].Attributes.Equal(now.Endpoints[0].Attributes) {
		t.Error("another weight, and the endpoint's attributes are equal")
	}
	for _, attr := range []struct {
		where string
		i     func() (grpcresolver.Endpoint, bool)
	}{
		{"endpoint", func() (grpcresolver.Endpoint, bool) {
			return grpcresolver.EndpointOf(now.Endpoints[0].Attributes)
		}},
		{"address", func() (grpcresolver.Endpoint, bool) {
			//lint:ignore SA1019 it is where balancers made with balancer/base find it
			return grpcresolver.EndpointOf(now.Addresses[0].BalancerAttributes)
		}},
	} {
		want := grpcresolver.Endpoint{Service: "web", ID: "a", Addr: "h:1", Zone: "z", Weight: 2, Status: registry.Warning}
		if i, ok := attr.i(); !ok || i != want {
			t.Errorf("%s: got %+v, %t, want %+v", attr.where, i, ok, want)
		}
	}
	if i, ok := grpcresolver.EndpointOf(nil); ok {
		t.Errorf("without attributes: got %+v", i)
	}
}

func TestInstancesThatTakeNoRequestsAreLeftOutWhileThereAreOthers(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	for _, s := range []registry.Status{registry.Passing, registry.Warning, registry.Critical, registry.Draining, registry.Maintenance} {
		put(t, cli, prefix+"web/"+string(s), fmt.Sprintf(`{"Addr":"%s:1","Metadata":{"status":%q,"weight":1}}`, s, s))
	}
	put(t, cli, prefix+"web/raw", "no address at all")
	put(t, cli, prefix+"web/twice", "passing:1") // to gRPC the same endpoint
	cc := newRecorder()
	r := build(t, grpcresolver.New(cli, &grpcresolver.Options{View: discovery.Options{Prefix: prefix}}), cc)
	defer r.Close()
	cc.untilList(t, "passing/1//passing warning/1//warning")
	for _, id := range []string{"passing", "warning", "twice"} {
		if _, err := cli.Delete(bounded(t), prefix+"web/"+id); err != nil {
			t.Fatal(err)
		}
	}
	cc.untilList(t, "critical/1//critical draining/1//draining maintenance/1//maintenance")
	for _, id := range []string{"critical", "draining", "maintenance"} {
		if _, err := cli.Delete(bounded(t), prefix+"web/"+id); err != nil {
			t.Fatal(err)
		}
	}
	cc.until(t, "that the rest has no address", func() bool {
		return len(cc.errs) == 1 && strings.Contains(cc.errs[0].Error(), `none of the instances of "web" (1) has an address`)
	})
}

func TestWithOnlyServingInstancesThatTakeNoRequestsAreAlwaysLeftOut(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	put(t, cli, prefix+"web/a", `{"Addr":"a:1","Metadata":{"status":"maintenance","weight":1}}`)
	put(t, cli, prefix+"web/b", "b:1")
	cc := newRecorder()
	r := build(t, grpcresolver.New(cli, &grpcresolver.Options{View: discovery.Options{Prefix: prefix, OnlyServing: true}}), cc)
	defer r.Close()
	cc.untilList(t, "b/1//passing")
	if _, err := cli.Delete(bounded(t), prefix+"web/b"); err != nil {
		t.Fatal(err)
	}
	cc.until(t, "that the rest takes no requests", func() bool {
		return len(cc.errs) == 1 && strings.Contains(cc.errs[0].Error(), `none of the instances of "web" (1) takes requests`)
	})
}

// The order is one connection's own, by weight, and the zone comes first.
func TestPickFirstSpreadsConnectionsByWeightWithinTheZone(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	for id, metadata := range map[string]string{"a": `"weight":1,"zone":"here"`, "b": `"weight":3,"zone":"here"`, "c": `"weight":100,"zone":"there"`} {
		put(t, cli, prefix+"web/"+id, fmt.Sprintf(`{"Addr":"%s:1","Metadata":{%s}}`, id, metadata))
	}
	b := grpcresolver.New(cli, &grpcresolver.Options{View: discovery.Options{Prefix: prefix, Zone: "here"}})
	got := make(map[string]int)
	const n = 1000
	for range n {
		cc := newRecorder()
		r := build(t, b, cc)
		cc.until(t, "a list", func() bool { return len(cc.states) > 0 })
		defer r.Close() // together: one View
		first, _ := grpcresolver.EndpointOf(cc.states[0].Endpoints[0].Attributes)
		got[first.ID]++
	}
	if b := got["b"]; b < n*65/100 || b > n*85/100 || got["c"] != 0 { // 7 standard deviations
		t.Errorf("first of %d lists: %v, want a and b as 1 to 3", n, got)
	}
}

func TestAServiceConfigIsGivenIfItIsAskedFor(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	r := registrar(t, cli, prefix)
	a, b := serve(t, ""), serve(t, "")
	register(t, r, registry.Instance{ID: "a", Addr: a.addr})
	register(t, r, registry.Instance{ID: "b", Addr: b.addr})
	builder := grpcresolver.New(cli, &grpcresolver.Options{View: discovery.Options{Prefix: prefix}, ServiceConfig: grpcresolver.ServiceConfig})
	until(t, dialWith(t, builder, "etcdkit:///web", balanced("pick_first")), a, b)
	bad := grpcresolver.New(cli, &grpcresolver.Options{View: discovery.Options{Prefix: prefix}, ServiceConfig: `{"loadBalancingConfig":[{"etcdkit":{"zone":"a"}}]}`})
	if _, err := call(bounded(t), dialWith(t, bad, "etcdkit:///web")); !strings.Contains(fmt.Sprint(err), "has no settings") {
		t.Errorf("settings that it does not have: got %v", err)
	}
}

func TestWithoutEtcdRPCsFailWithTheCauseAndTheSavedListServes(t *testing.T) {
	t.Parallel()
	s := serve(t, "")
	dir := t.TempDir()
	gone, err := clientv3.New(clientv3.Config{Endpoints: []string{"127.0.0.1:1"}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer gone.Close()
	began := time.Now()
	_, err = call(bounded(t), dial(t, gone, discovery.Options{}))
	if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "127.0.0.1:1") || !strings.Contains(err.Error(), "refused") {
		t.Errorf("after %v: got %v, want Unavailable with the endpoint and the cause", time.Since(began), err)
	}

	cli, prefix := etcdtest.New(t)
	register(t, registrar(t, cli, prefix), registry.Instance{ID: "a", Addr: s.addr})
	conn := dial(t, cli, discovery.Options{Prefix: prefix, Dir: dir})
	until(t, conn, s)
	if err := conn.Close(); err != nil { // it saves before it ends
		t.Fatal(err)
	}
	until(t, dial(t, gone, discovery.Options{Prefix: prefix, Dir: dir}), s)
}

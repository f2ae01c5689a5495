package doctor_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/etcdkit/etcdkit/client"
	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/doctor"
	"github.com/etcdkit/etcdkit/etcdtest"
)

// generous is a bound for what should take far less, on a busy machine.
const generous = time.Minute

func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func state(t *testing.T, cli *clientv3.Client, opts *doctor.Options) *doctor.Cluster {
	t.Helper()
	c, err := doctor.Status(within(t, generous), cli, opts)
	if err != nil {
		t.Fatalf("Status: %v", err)
	}
	return c
}

// eventually asks again until the state is as is wants it.
func eventually(t *testing.T, cli *clientv3.Client, what string, is func(*doctor.Cluster) bool) *doctor.Cluster {
	t.Helper()
	ctx := within(t, generous)
	for {
		c, err := doctor.Status(ctx, cli, &doctor.Options{Timeout: time.Second})
		if err != nil {
			t.Fatalf("Status, until %s: %v", what, err)
		}
		if is(c) {
			return c
		}
	}
}

func named(t *testing.T, c *doctor.Cluster, name string) doctor.Member {
	t.Helper()
	i := slices.IndexFunc(c.Members, func(m doctor.Member) bool { return m.Name == name })
	if i < 0 {
		t.Fatalf("no member %s among %+v", name, c.Members)
	}
	return c.Members[i]
}

func fault(t *testing.T, do func(context.Context, string) (*cluster.Change, error), member string) {
	t.Helper()
	if _, err := do(within(t, generous), member); err != nil {
		t.Fatal(err)
	}
}

func TestStatusShowsEachMember(t *testing.T) {
	dev := etcdtest.NewCluster(t, nil)
	cli := etcdtest.Client(t, dev)
	put, err := cli.Put(within(t, generous), "key", "value")
	if err != nil {
		t.Fatal(err)
	}
	c := state(t, cli, nil)
	if c.Voters != 3 || c.Healthy != 3 || c.Quorum != 2 || c.CanLose != 1 || c.Degraded() || !c.HasQuorum() || len(c.Alarms) > 0 {
		t.Errorf("got %+v, reasons %v: want 3 healthy voters of which one may fail", c, c.Reasons())
	}
	if c.Revision != put.Header.Revision || uint64(c.ID) != put.Header.ClusterId || c.Term == 0 {
		t.Errorf("got cluster %v, revision %d, term %d: want those of %v", c.ID, c.Revision, c.Term, put.Header)
	}
	roles := make(map[doctor.Role]int)
	for i, m := range c.Members {
		roles[m.Role]++
		if want := dev.State().Members[i]; m.Name != want.Name || m.ID.String() != want.ID || !m.Reachable || m.Version != dev.State().Etcd || m.StorageVersion == "" {
			t.Errorf("member %d: got %+v, want %+v", i, m, want)
		}
		if m.DBSize <= 0 || m.DBInUse <= 0 || m.Quota != 2<<30 || m.RoundTrip <= 0 || m.RaftIndex == 0 || m.AppliedIndex == 0 || m.Leader != c.Leader {
			t.Errorf("%s: got %+v: want sizes, the default quota, a round trip, indexes and the leader", m.Name, m)
		}
	}
	if roles[doctor.Leader] != 1 || roles[doctor.Follower] != 2 {
		t.Errorf("got roles %v: want one leader and two followers", roles)
	}
}

func TestASilentMemberIsReportedAndTheOthersAreShown(t *testing.T) {
	dev := etcdtest.NewCluster(t, nil)
	cli := etcdtest.Client(t, dev)
	fault(t, dev.Pause, "follower")
	began := time.Now()
	c := state(t, cli, &doctor.Options{Timeout: 500 * time.Millisecond})
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("it took %v: want about the timeout of one member", took)
	}
	if c.CanLose != 0 || !c.HasQuorum() || c.Healthy != 2 || !c.Degraded() {
		t.Errorf("got %+v: want a quorum that can lose no more", c)
	}
	silent := 0
	for _, m := range c.Members {
		if m.Reachable {
			continue
		}
		silent++
		if m.Problem != "no answer for 500ms" || m.Name == "" || m.Role != doctor.Unknown {
			t.Errorf("the silent member: got %+v", m)
		}
		if want := m.Name + " does not answer: no answer for 500ms"; !slices.Equal(c.Reasons(), []string{want}) {
			t.Errorf("reasons: got %q, want %q alone", c.Reasons(), want)
		}
	}
	if silent != 1 {
		t.Errorf("%d members are silent, want 1: %+v", silent, c.Members)
	}
}

func TestStatusWorksWithoutAQuorum(t *testing.T) {
	t.Parallel()
	dev := etcdtest.NewCluster(t, nil)
	cli := etcdtest.Client(t, dev)
	fault(t, dev.Kill, "etcd2")
	fault(t, dev.Kill, "etcd3")
	c := eventually(t, cli, "etcd1 has lost its leader", func(c *doctor.Cluster) bool { return named(t, c, "etcd1").Leader == 0 })
	if c.HasQuorum() || c.CanLose != 0 || c.Leader != 0 || len(c.Members) != 3 {
		t.Errorf("got %+v: want three members and no quorum", c)
	}
	reasons := c.Reasons()
	if len(reasons) != 4 || reasons[0] != "no quorum: 1 of 3 voters answer, 2 are necessary" || reasons[1] != "etcd1 has no leader" || !strings.HasPrefix(reasons[2], "etcd2 does not answer: ") {
		t.Errorf("got reasons %q", reasons)
	}
}

func TestNoAnswerAtAllIsAnErrorThatNamesEachEndpoint(t *testing.T) {
	a, b := etcdtest.Addr(t), etcdtest.Addr(t)
	cli, err := clientv3.New(clientv3.Config{Endpoints: []string{a, b}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer cli.Close()
	for what, do := range map[string]func() error{
		"Status":  func() error { _, err := doctor.Status(within(t, generous), cli, nil); return err },
		"Examine": func() error { _, err := doctor.Examine(within(t, generous), cli, nil); return err },
	} {
		err := do()
		if !errors.Is(err, doctor.ErrUnreachable) || !strings.Contains(err.Error(), a+": connection refused") || !strings.Contains(err.Error(), b+": connection refused") {
			t.Errorf("%s: got %v, want ErrUnreachable with %s and %s", what, err, a, b)
		}
	}
}

func TestTheContextEndsStatus(t *testing.T) {
	dev := etcdtest.NewCluster(t, &cluster.Options{Members: 1})
	cli := etcdtest.Client(t, dev)
	fault(t, dev.Pause, "etcd1")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := doctor.Status(ctx, cli, &doctor.Options{Timeout: time.Hour}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}

func TestOptionsThatCannotBeUsedAreRefused(t *testing.T) {
	cli, _ := etcdtest.New(t)
	for _, opts := range []*doctor.Options{{Timeout: -1}, {Wait: time.Second}, {Wait: time.Hour}, {Wait: -time.Second}} {
		if _, err := doctor.Status(t.Context(), cli, opts); !errors.Is(err, doctor.ErrInvalid) {
			t.Errorf("Status with %+v: got %v, want ErrInvalid", opts, err)
		}
		if _, err := doctor.Examine(t.Context(), cli, opts); !errors.Is(err, doctor.ErrInvalid) {
			t.Errorf("Examine with %+v: got %v, want ErrInvalid", opts, err)
		}
	}
}

func TestTheMembersAreFoundFromOneEndpoint(t *testing.T) {
	dev := etcdtest.NewCluster(t, nil)
	cli, err := clientv3.New(clientv3.Config{Endpoints: dev.Endpoints()[1:2], Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer cli.Close()
	if c := state(t, cli, nil); len(c.Members) != 3 || c.Healthy != 3 || c.Incomplete != "" {
		t.Errorf("got %+v: want all three members", c)
	}
}

// refusing makes a client whose requests of some methods are refused, as other versions of etcd refuse them.
func refusing(t *testing.T, endpoints []string, refusal error, methods ...string) *clientv3.Client {
	t.Helper()
	refuse := func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		for _, m := range methods {
			if strings.HasSuffix(method, "/"+m) {
				return refusal
			}
		}
		return invoke(ctx, method, req, reply, cc, opts...)
	}
	cli, err := clientv3.New(clientv3.Config{Endpoints: endpoints, Logger: zap.NewNop(), DialOptions: []grpc.DialOption{grpc.WithChainUnaryInterceptor(refuse)}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cli.Close() })
	return cli
}

// etcd 3.4.42, 3.5.28 and 3.6.9 list members for root only.
func TestWhereTheListOfMembersIsRefusedTheEndpointsAreExamined(t *testing.T) {
	dev := etcdtest.NewCluster(t, nil)
	c := state(t, refusing(t, dev.Endpoints()[:2], rpctypes.ErrGRPCPermissionDenied, "MemberList"), nil)
	if len(c.Members) != 2 || !c.Members[0].Reachable || c.Members[0].Version == "" || !strings.Contains(c.Incomplete, "permission denied") {
		t.Errorf("got %+v: want the two members of the endpoints, and why there are no more", c)
	}
	if c.ID == 0 || c.Leader == 0 {
		t.Errorf("got cluster %v with leader %v, want both", c.ID, c.Leader)
	}
}

// etcd 3.5.28 to 3.5.31 and 3.6.9 to 3.6.11 tell their status to root only.
func TestAUserThatMembersRefuseIsToldSo(t *testing.T) {
	dev := etcdtest.NewCluster(t, &cluster.Options{Members: 1})
	cli := refusing(t, dev.Endpoints(), rpctypes.ErrGRPCPermissionDenied, "MemberList", "Status")
	if _, err := doctor.Status(within(t, generous), cli, nil); !errors.Is(err, doctor.ErrDenied) || !strings.Contains(err.Error(), "permission denied") || !strings.Contains(err.Error(), "role root") {
		t.Errorf("got %v, want ErrDenied with advice", err)
	}
	cli = refusing(t, dev.Endpoints(), rpctypes.ErrGRPCPermissionDenied, "Status")
	if _, err := doctor.Status(within(t, generous), cli, nil); !errors.Is(err, doctor.ErrDenied) {
		t.Errorf("with the list of members: got %v, want ErrDenied", err)
	}
}

func TestAUserWithoutRightsSeesTheStatusAndOneWithoutANameDoesNot(t *testing.T) {
	t.Parallel()
	dev := etcdtest.NewCluster(t, nil)
	root := etcdtest.EnableAuth(t, dev)
	alice := etcdtest.User(t, dev, root, "alice", "")
	if c := state(t, alice, nil); c.Healthy != 3 || c.Incomplete != "" {
		t.Errorf("alice: got %+v, want three healthy members", c)
	}
	r, err := doctor.Examine(within(t, generous), alice, &doctor.Options{Wait: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if f := find(t, r, "auth"); f.Severity != doctor.OK || f.What != "authentication: on" {
		t.Errorf("got %+v, want that authentication is on", f)
	}
	if f := find(t, r, "commit"); f.Severity == doctor.Info {
		t.Errorf("got %+v: want that alice may measure a commit", f)
	}
	if _, err := doctor.Status(within(t, generous), etcdtest.Client(t, dev), nil); !errors.Is(err, doctor.ErrDenied) || !strings.Contains(err.Error(), "the client has no user") {
		t.Errorf("no user: got %v, want ErrDenied", err)
	}
}

func TestStatusAndMetricsGoThroughTLS(t *testing.T) {
	t.Parallel()
	ca := etcdtest.NewAuthority(t)
	server, me := ca.Issue("server", time.Hour), ca.Issue("me", time.Hour)
	dev := etcdtest.NewCluster(t, &cluster.Options{Members: 1, ClientTLS: &cluster.TLS{CertFile: server, KeyFile: server, ClientCAFile: ca.File}})
	opts := &client.Options{Endpoints: dev.Endpoints(), CACert: ca.File, Cert: me, Key: me}
	cli, err := client.Dial(within(t, generous), opts)
	if err != nil {
		t.Fatal(err)
	}
	defer cli.Close()
	cfg, err := client.TLSConfig(opts)
	if err != nil {
		t.Fatal(err)
	}
	r, err := doctor.Examine(within(t, generous), cli, &doctor.Options{Wait: 2 * time.Second, TLS: cfg})
	if err != nil {
		t.Fatal(err)
	}
	if m := r.Cluster.Members[0]; !m.Reachable || m.Role != doctor.Leader {
		t.Errorf("got %+v, want a leader", m)
	}
	none(t, r, "metrics", "gateway-unknown")
	if f := find(t, r, "fsync"); len(f.What) == 0 {
		t.Errorf("got %+v, want the latency of the disk", f)
	}

	r, err = doctor.Examine(within(t, generous), cli, &doctor.Options{Wait: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if f := find(t, r, "metrics"); f.Severity != doctor.Info || !strings.Contains(f.What, "certificate") {
		t.Errorf("without the TLS configuration: got %+v, want that a certificate is in the way", f)
	}
}

package registry_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/internal/means"
	"github.com/etcdkit/etcdkit/lease"
	"github.com/etcdkit/etcdkit/registry"
)

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

func TestAUserWithoutTheRightGetsAnErrorAtOnce(t *testing.T) {
	c := etcdtest.NewCluster(t, &cluster.Options{Members: 1, InProcess: true})
	root := etcdtest.EnableAuth(t, c)
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

// A token that became invalid, and a role that is taken away and given back.
func TestAChangeOfRightsIsReportedAndSurvived(t *testing.T) {
	t.Parallel()
	c := etcdtest.NewCluster(t, &cluster.Options{Members: 1, InProcess: true})
	root := etcdtest.EnableAuth(t, c)
	var sent calls
	cli := etcdtest.User(t, c, root, "amy", "/services/", sent.count())
	reg := register(t, cli, web("a"), &registry.Options{TTL: 30 * time.Second})
	weigh := func(ctx context.Context, w int) error {
		return reg.Update(ctx, func(i *registry.Instance) { i.Weight = w })
	}
	// Setting the password again, to the same, makes every token of hers invalid.
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
	<-time.After(3 * time.Second) // in which a loop without pauses sends hundreds
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

// Keys are written together, and etcd refuses all of them for one.
func TestOneKeyThatIsRefusedKeepsNoOtherFromBeingWritten(t *testing.T) {
	c := etcdtest.NewCluster(t, &cluster.Options{Members: 1, InProcess: true})
	root := etcdtest.EnableAuth(t, c)
	cli := etcdtest.User(t, c, root, "amy", "/services/web/")
	db, end := "/services/db/", clientv3.GetPrefixRangeEnd("/services/db/")
	if _, err := root.RoleGrantPermission(bounded(t), "amy", db, end, clientv3.PermissionType(clientv3.PermReadWrite)); err != nil {
		t.Fatal(err)
	}
	r, err := registry.New(cli, &registry.Options{TTL: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var all []registry.Instance
	for n := range 10 {
		all = append(all, web(fmt.Sprint(n)))
	}
	all = append(all, registry.Instance{Service: "db", ID: "a", Addr: "h:1"})
	regs, err := r.Register(bounded(t), all...)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := root.RoleRevokePermission(bounded(t), "amy", db, end); err != nil {
		t.Fatal(err)
	}
	before := regs[0].State()
	if _, err := root.Revoke(bounded(t), before.Lease); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for ctx := bounded(t); slices.ContainsFunc(regs[:10], func(reg *registry.Registration) bool { s := reg.State(); return s.Losses == 0 || !s.Registered }); {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("state %+v, want it registered again", regs[0].State())
		}
	}
	if took := time.Since(began); took > 3*time.Second && !means.Race {
		t.Errorf("the others were back after %v, want it at once", took)
	}
	for ctx := bounded(t); !errors.Is(regs[10].State().Err, registry.ErrUnauthorised); {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("state %+v, want ErrUnauthorised", regs[10].State())
		}
	}
}

// For a user other than root etcd checks the right to every key of a lease at each Put that names it.
func TestAUserOtherThanRootPaysLittleMoreForManyRegistrations(t *testing.T) {
	c := etcdtest.NewCluster(t, &cluster.Options{Members: 1})
	root := etcdtest.EnableAuth(t, c)
	amy := etcdtest.User(t, c, root, "amy", "/services/")
	n := 1000
	if means.Race { // a password check takes seconds then, and each lease's stream makes one
		n = 100
	}
	compareUsers(t, root, amy, n)
}

// compareUsers fails unless a user registers and changes instances in at most twice root's time.
func compareUsers(t *testing.T, root, amy *clientv3.Client, n int) {
	type took struct{ register, change time.Duration }
	measure := func(cli *clientv3.Client, service string) (d took) {
		k := lease.NewKeeper(cli, nil)
		defer k.Close()
		r, err := registry.New(cli, &registry.Options{Keeper: k})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		var all []registry.Instance
		for i := range n {
			all = append(all, registry.Instance{Service: service, ID: fmt.Sprintf("%05d", i), Addr: "10.0.0.1:80"})
		}
		began := time.Now()
		regs, err := r.Register(bounded(t), all...)
		if err != nil {
			t.Fatal(err)
		}
		d.register = time.Since(began)
		leases := len(k.Stats().Leases)
		began = time.Now()
		var changing sync.WaitGroup
		for _, reg := range regs {
			changing.Go(func() {
				if err := reg.Update(bounded(t), func(i *registry.Instance) { i.Weight = 7 }); err != nil {
					t.Error(err)
				}
			})
		}
		changing.Wait()
		d.change = time.Since(began)
		if s := k.Stats(); len(s.Leases) != leases || regs[n-1].State().Lease == 0 {
			t.Errorf("%d leases, want the %d that there were", len(s.Leases), leases)
		}
		return d
	}
	least := func(a, b took) took { return took{min(a.register, b.register), min(a.change, b.change)} }
	forever := took{time.Hour, time.Hour}
	byRoot, byAmy := forever, forever
	turns := 5 // the fastest counts: the machine has other work
	if means.Race {
		turns = 1
	}
	for turn := range turns {
		byRoot = least(byRoot, measure(root, fmt.Sprint("root", turn)))
		byAmy = least(byAmy, measure(amy, fmt.Sprint("amy", turn)))
	}
	t.Logf("%d: root registers in %v and changes all in %v, a role's user in %v and %v", n, byRoot.register, byRoot.change, byAmy.register, byAmy.change)
	if byAmy.register > 2*byRoot.register && !means.Race {
		t.Errorf("a role's user registers %d in %v, want twice root's %v", n, byAmy.register, byRoot.register)
	}
	if byAmy.change > 2*byRoot.change && !means.Race {
		t.Errorf("a role's user changes %d in %v, want twice root's %v", n, byAmy.change, byRoot.change)
	}
}

func TestCloseTellsWhatIsLeftWhereAuthenticationWasTurnedOn(t *testing.T) {
	t.Parallel()
	c := etcdtest.NewCluster(t, &cluster.Options{Members: 1, InProcess: true})
	cli := etcdtest.Client(t, c)
	r, err := registry.New(cli, &registry.Options{TTL: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Register(bounded(t), web("a"), web("b")); err != nil {
		t.Fatal(err)
	}
	root := etcdtest.EnableAuth(t, c)
	err = closes(t, r.Close)
	if !errors.Is(err, registry.ErrUnauthorised) || !strings.Contains(err.Error(), "/services/web/a") || !strings.Contains(err.Error(), "/services/web/b") ||
		!strings.Contains(err.Error(), "in etcd they stay until ") {
		t.Errorf("got %v, want ErrUnauthorised, the keys, and until when they stay", err)
	}
	if kvs := get(t, root, "/services/web/a").Kvs; len(kvs) != 1 {
		t.Errorf("void: %v, want the key", kvs)
	}
}

// They are written in one transaction, which etcd refuses for one of them.
func TestOneRegistrationThatIsRefusedKeepsNoOtherOut(t *testing.T) {
	t.Parallel()
	c := etcdtest.NewCluster(t, &cluster.Options{Members: 1, InProcess: true})
	root := etcdtest.EnableAuth(t, c)
	all := &tries{}
	cli := etcdtest.User(t, c, root, "amy", "/services/web/", all.option())
	r, err := registry.New(cli, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	n := 125        // with one more of another service, and a comparison for each service, 128 operations
	if means.Race { // each half of a transaction takes a second then
		n = 15
	}
	release := make(chan struct{}) // until then the first one has no answer, and the others come together
	var together int
	all.is(func(_ context.Context, _ int, req *pb.TxnRequest, do func() error) error {
		<-release
		all.mu.Lock()
		together = max(together, len(req.Success))
		all.mu.Unlock()
		return do()
	})
	results := make([]error, n+2)
	var registering sync.WaitGroup
	start := func(i int, instance registry.Instance) {
		registering.Go(func() { _, results[i] = r.Register(bounded(t), instance) })
	}
	known := func(want int) {
		t.Helper()
		for ctx := bounded(t); ; {
			got := 0
			for _, number := range r.Stats().Registrations {
				got += number
			}
			if got == want {
				return
			}
			select {
			case <-time.After(time.Millisecond):
			case <-ctx.Done():
				t.Fatalf("%d registrations, want %d", got, want)
			}
		}
	}
	start(n, web("first"))
	for ctx := bounded(t); ; {
		all.mu.Lock()
		sent := all.n
		all.mu.Unlock()
		if sent > 0 {
			break
		}
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			t.Fatal("nothing is sent")
		}
	}
	for i := range n {
		start(i, web(fmt.Sprintf("%03d", i)))
	}
	start(n+1, registry.Instance{Service: "db", ID: "a", Addr: "h:1"})
	known(n + 2)
	close(release)
	registering.Wait()
	for i, err := range results[:n+1] {
		if err != nil {
			t.Fatalf("registration %d: %v: it is refused for another one's key", i, err)
		}
	}
	if err := results[n+1]; !errors.Is(err, registry.ErrUnauthorised) || !strings.Contains(err.Error(), "/services/db/a") {
		t.Errorf("the one that is refused: %v, want ErrUnauthorised and its key", err)
	}
	all.mu.Lock()
	defer all.mu.Unlock()
	if together != n+1 {
		t.Errorf("void: at most %d in one transaction, want %d", together, n+1)
	}
	resp, err := root.Get(bounded(t), "/services/", clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil || resp.Count != int64(n+1) {
		t.Errorf("%v keys, %v, want %d", resp, err, n+1)
	}
}

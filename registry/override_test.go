package registry_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/registry"
)

var maintenance = registry.Override{Status: registry.Maintenance, Reason: "disk swap", By: "ann@bastion"}

func operator(t *testing.T, cli *clientv3.Client, prefix string) *registry.Operator {
	t.Helper()
	op, err := registry.NewOperator(cli, prefix)
	if err != nil {
		t.Fatal(err)
	}
	return op
}

func override(t *testing.T, op *registry.Operator, id string, said registry.Override) {
	t.Helper()
	if err := op.SetOverride(bounded(t), "web", id, said); err != nil {
		t.Fatal(err)
	}
}

func takeBack(t *testing.T, op *registry.Operator, id string) {
	t.Helper()
	if was, err := op.ClearOverride(bounded(t), "web", id); err != nil || was == nil {
		t.Fatalf("got %v, %v, want what it was", was, err)
	}
}

// statusUntil returns when a key has a status, and fails if it had one that is not allowed after a revision.
func statusUntil(t *testing.T, cli *clientv3.Client, prefix, id string, after int64, want registry.Status, allowed ...registry.Status) registry.Instance {
	t.Helper()
	var i registry.Instance
	eventually(t, cli, prefix+"web/"+id, after, func(ev *clientv3.Event) bool {
		if !isPut(ev) {
			return false
		}
		var err error
		if i, err = registry.Decode(prefix, string(ev.Kv.Key), string(ev.Kv.Value)); err != nil {
			t.Fatal(err)
		}
		ok := i.Status == want
		for _, a := range allowed {
			ok = ok || i.Status == a
		}
		if !ok {
			t.Errorf("revision %d: status %s (%s), want %s", ev.Kv.ModRevision, i.Status, i.Reason, want)
		}
		return i.Status == want
	})
	return i
}

func now(t *testing.T, cli *clientv3.Client) int64 { return get(t, cli, "nothing").Header.Revision }

func TestAnOverrideHoldsWhateverTheOwnerWrites(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	key := prefix + "web/a"
	reg := register(t, cli, web("a"), &registry.Options{Prefix: prefix, TTL: 5 * time.Second})
	op := operator(t, cli, prefix)
	override(t, op, "a", maintenance)
	set := get(t, cli, key)
	if i, err := registry.Decode(prefix, key, string(set.Kvs[0].Value)); err != nil || i.Status != registry.Maintenance || i.Reason != "disk swap" || i.Addr != "10.0.0.1:80" {
		t.Fatalf("at once: %+v, %v, want it in maintenance for all readers", i, err)
	}
	for what, do := range map[string]func() error{
		"an update":      func() error { return reg.Update(bounded(t), func(i *registry.Instance) { i.Weight++ }) },
		"a deleted key":  func() error { _, err := cli.Delete(bounded(t), key); return err },
		"a lost lease":   func() error { _, err := cli.Revoke(bounded(t), reg.State().Lease); return err },
		"a second word":  func() error { return op.SetOverride(bounded(t), "web", "a", maintenance) },
		"another weight": func() error { return reg.Update(bounded(t), func(i *registry.Instance) { i.Weight += 10 }) },
	} {
		before := now(t, cli)
		if err := do(); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if what != "a second word" {
			statusUntil(t, cli, prefix, "a", before, registry.Maintenance)
		}
	}
	if s := reg.State(); s.Override == nil || s.Override.By != "ann@bastion" || s.Status != registry.Maintenance {
		t.Errorf("state %+v, want the override", s)
	}
	before := now(t, cli)
	takeBack(t, op, "a")
	if i := statusUntil(t, cli, prefix, "a", before, registry.Passing, registry.Maintenance); i.Weight != 12 || i.Reason != "" {
		t.Errorf("got %+v, want its own status and what was updated", i)
	}
	if was, err := op.ClearOverride(bounded(t), "web", "a"); was != nil || !errors.Is(err, registry.ErrNoOverride) {
		t.Errorf("nothing to take back: got %v, %v, want ErrNoOverride", was, err)
	}
}

func TestMaintenanceOutlivesTheProcessAndDrainingDoesNot(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	op := operator(t, cli, prefix)
	newRegistrar := func() *registry.Registrar {
		t.Helper()
		r, err := registry.New(cli, &registry.Options{Prefix: prefix})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Close() })
		return r
	}
	r := newRegistrar()
	again := func() *registry.Registration {
		t.Helper()
		all, err := r.Register(bounded(t), web("a"), web("b"))
		if err != nil {
			t.Fatal(err)
		}
		if err := all[1].Close(); err != nil {
			t.Fatal(err)
		}
		return all[0]
	}
	first := func(after int64) (status registry.Status) {
		t.Helper()
		eventually(t, cli, prefix+"web/a", after, func(ev *clientv3.Event) bool {
			i, err := registry.Decode(prefix, prefix+"web/a", string(ev.Kv.Value))
			status = i.Status
			return isPut(ev) && err == nil
		})
		return status
	}
	reg := again()
	for _, c := range []struct {
		said registry.Status
		want registry.Status
	}{{registry.Maintenance, registry.Maintenance}, {registry.Draining, registry.Passing}} {
		override(t, op, "a", registry.Override{Status: c.said})
		if err := reg.Close(); err != nil {
			t.Fatal(err)
		}
		before := now(t, cli)
		r = newRegistrar() // as a process that was restarted
		reg = again()
		if got := first(before); got != c.want {
			t.Errorf("%s: registered again as %s, want %s from the first record on", c.said, got, c.want)
		}
	}
	// It is taken back while the instance is away: what the Registrar has read is old.
	override(t, op, "a", maintenance)
	if err := reg.Close(); err != nil {
		t.Fatal(err)
	}
	reg = again()
	if err := reg.Close(); err != nil {
		t.Fatal(err)
	}
	takeBack(t, op, "a")
	before := now(t, cli)
	again()
	if got := first(before); got != registry.Passing {
		t.Errorf("taken back meanwhile: registered as %s", got)
	}
}

func TestAPausedOwnerKeepsTheOverrideWhenItContinues(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	c := startChild(t, childJob{Endpoints: cli.Endpoints(), Prefix: prefix, IDs: []string{"a"}, TTL: 30 * time.Second})
	op := operator(t, cli, prefix)
	if err := c.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	before := now(t, cli)
	override(t, op, "a", maintenance)
	kv := get(t, cli, prefix+"web/a").Kvs[0]
	if _, err := cli.Revoke(bounded(t), clientv3.LeaseID(kv.Lease)); err != nil { // as if it had expired
		t.Fatal(err)
	}
	gone := now(t, cli)
	if err := c.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	statusUntil(t, cli, prefix, "a", before, registry.Maintenance)
	statusUntil(t, cli, prefix, "a", gone, registry.Maintenance)
	before = now(t, cli)
	takeBack(t, op, "a")
	statusUntil(t, cli, prefix, "a", before, registry.Passing, registry.Maintenance)
}

func TestWhatHasNoStatusIsNotOverridden(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	op := operator(t, cli, prefix)
	register(t, cli, registry.Instance{Service: "web", ID: "raw", Raw: "value-2379"}, &registry.Options{Prefix: prefix})
	if _, err := cli.Put(bounded(t), prefix+"web/other", `{"Op":0,"Addr":"10.0.0.2:80","Metadata":null}`); err != nil {
		t.Fatal(err)
	}
	reg := register(t, cli, web("a"), &registry.Options{Prefix: prefix})
	for id, want := range map[string]error{"raw": registry.ErrForeign, "other": registry.ErrForeign, "nobody": registry.ErrNotRegistered, "a/b": registry.ErrInvalid} {
		if err := op.SetOverride(bounded(t), "web", id, maintenance); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", id, err, want)
		}
	}
	for _, bad := range []registry.Override{{Status: registry.Critical}, {}, {Status: registry.Draining, Reason: strings.Repeat("x", 401)}} {
		if err := op.SetOverride(bounded(t), "web", "a", bad); !errors.Is(err, registry.ErrInvalid) {
			t.Errorf("%+v: got %v, want ErrInvalid", bad, err)
		}
	}
	if _, err := op.ClearOverride(bounded(t), "web", "nobody"); !errors.Is(err, registry.ErrNotRegistered) {
		t.Errorf("got %v, want ErrNotRegistered", err)
	}
	// What another client writes there must not change anything.
	if _, err := cli.Put(bounded(t), prefix+".overrides/web/a", `{"status":"critical"}`); err != nil {
		t.Fatal(err)
	}
	if _, err := cli.Delete(bounded(t), prefix+"web/a"); err != nil {
		t.Fatal(err)
	}
	statusUntil(t, cli, prefix, "a", reg.State().Revision, registry.Passing)
}

// requests counts what a client sends.
func requests(n *atomic.Int64) grpc.DialOption {
	return grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		if strings.HasPrefix(method, "/etcdserverpb.KV/") {
			n.Add(1)
		}
		return invoke(ctx, method, req, reply, cc, opts...)
	})
}

func TestOverridesCostNoRequestWhileThereIsNone(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	var n atomic.Int64
	counted, err := clientv3.New(clientv3.Config{Endpoints: cli.Endpoints(), DialOptions: []grpc.DialOption{requests(&n)}})
	if err != nil {
		t.Fatal(err)
	}
	defer counted.Close()
	r, err := registry.New(counted, &registry.Options{Prefix: prefix})
	if err != nil {
		t.Fatal(err)
	}
	all, err := r.Register(bounded(t), web("a"), web("b"))
	if err != nil {
		t.Fatal(err)
	}
	if err := all[0].Drain(bounded(t), "deploy"); err != nil {
		t.Fatal(err)
	}
	if got := n.Load(); got != 2 {
		t.Errorf("%d requests to register two instances and to change one, want 2", got)
	}
	before := now(t, cli)
	override(t, operator(t, cli, prefix), "b", maintenance)
	statusUntil(t, cli, prefix, "b", before, registry.Maintenance)
	for ctx := bounded(t); all[1].State().Override == nil; {
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("state %+v, want the override", all[1].State())
		}
	}
	if after := get(t, cli, prefix+"web/b"); after.Kvs[0].Version != 2 {
		t.Errorf("version %d, want 2: the owner has nothing to write", after.Kvs[0].Version)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
}

// A role of the time before overrides allows the service's own prefix only.
func TestAUserWithoutAPermissionForOverridesRegistersAsBefore(t *testing.T) {
	c := etcdtest.NewCluster(t, &cluster.Options{Members: 1, InProcess: true})
	root := etcdtest.EnableAuth(t, c)
	amy := etcdtest.User(t, c, root, "amy", "/services/web/")
	bob := etcdtest.User(t, c, root, "bob", "/services/")
	op := operator(t, root, "")
	regs := map[string]*registry.Registration{}
	for id, cli := range map[string]*clientv3.Client{"a": amy, "b": bob} {
		regs[id] = register(t, cli, web(id), nil)
		override(t, op, id, maintenance)
	}
	for ctx := bounded(t); regs["b"].State().Override == nil; {
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("state %+v, want the override", regs["b"].State())
		}
	}
	for id, want := range map[string]registry.Status{"a": registry.Passing, "b": registry.Maintenance} {
		before := now(t, root)
		if _, err := root.Delete(bounded(t), "/services/web/"+id); err != nil {
			t.Fatal(err)
		}
		statusUntil(t, root, "/services/", id, before, want)
	}
	for id, reg := range regs {
		if err := reg.Close(); err != nil {
			t.Errorf("close %s: %v", id, err)
		}
	}
}

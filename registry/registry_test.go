package registry_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/naming/endpoints"
	"go.uber.org/goleak"

	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/internal/means"
	"github.com/etcdkit/etcdkit/lease"
	"github.com/etcdkit/etcdkit/registry"
)

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		os.Exit(runChild())
	}
	means.TestsAtATime(4)
	goleak.VerifyTestMain(etcdtest.Main(m))
}

// within bounds what a test waits for, on a machine that does much else.
const within = 60 * time.Second

func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	t.Cleanup(cancel)
	return ctx
}

func web(id string) registry.Instance {
	return registry.Instance{Service: "web", ID: id, Addr: "10.0.0.1:80", Version: "v1"}
}

func register(t *testing.T, cli *clientv3.Client, i registry.Instance, opts *registry.Options) *registry.Registration {
	t.Helper()
	reg, err := registry.Register(bounded(t), cli, i, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { reg.Close() })
	return reg
}

func get(t *testing.T, cli *clientv3.Client, key string) *clientv3.GetResponse {
	t.Helper()
	resp, err := cli.Get(bounded(t), key)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// eventually returns the first event on a key, after a revision, that ok accepts.
func eventually(t *testing.T, cli *clientv3.Client, key string, after int64, ok func(*clientv3.Event) bool) *clientv3.Event {
	t.Helper()
	ctx, cancel := context.WithCancel(bounded(t))
	defer cancel()
	for resp := range cli.Watch(ctx, key, clientv3.WithRev(after+1)) {
		for _, ev := range resp.Events {
			if ok(ev) {
				return ev
			}
		}
	}
	t.Fatalf("nothing of the kind happened to %s after revision %d", key, after)
	return nil
}

func isPut(ev *clientv3.Event) bool { return ev.Type == clientv3.EventTypePut }

func TestARegistrationIsThereOnALeaseAndGoneAfterClose(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	reg := register(t, cli, web("a"), &registry.Options{Prefix: prefix})
	key := prefix + "web/a"
	kvs := get(t, cli, key).Kvs
	if len(kvs) != 1 || kvs[0].Lease == 0 {
		t.Fatalf("%s: got %v, want a key on a lease", key, kvs)
	}
	i, err := registry.Decode(prefix, key, string(kvs[0].Value))
	if err != nil || i.Addr != "10.0.0.1:80" || i.Version != "v1" || i.PID == 0 || i.Host == "" {
		t.Errorf("got %+v, %v", i, err)
	}
	if s := reg.State(); !s.Registered || s.Key != key || s.Revision != kvs[0].ModRevision || int64(s.Lease) != kvs[0].Lease {
		t.Errorf("state %+v, want what is in etcd: %v", s, kvs[0])
	}
	for range 2 {
		if err := reg.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if kvs := get(t, cli, key).Kvs; len(kvs) != 0 {
		t.Errorf("after Close: %v, want nothing", kvs)
	}
	said := eventually(t, cli, key, kvs[0].ModRevision, isPut)
	if i, err := registry.Decode(prefix, key, string(said.Kv.Value)); err != nil || i.Status != registry.Draining {
		t.Errorf("before it went it said %+v, %v, want draining", i, err)
	}
	left, err := cli.TimeToLive(bounded(t), clientv3.LeaseID(kvs[0].Lease))
	if err != nil || left.TTL != -1 {
		t.Errorf("its lease is still there: %v, %v", left, err)
	}
}

func TestItComesBackWithoutBeingAsked(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	key := prefix + "web/a"
	for name, take := range map[string]func(registry.State) error{
		"its lease is revoked":               func(s registry.State) error { _, err := cli.Revoke(t.Context(), s.Lease); return err },
		"its key is deleted":                 func(registry.State) error { _, err := cli.Delete(t.Context(), key); return err },
		"its key is deleted after an update": func(registry.State) error { _, err := cli.Delete(t.Context(), key); return err },
	} {
		t.Run(name, func(t *testing.T) {
			reg := register(t, cli, web("a"), &registry.Options{Prefix: prefix, TTL: 5 * time.Second})
			if strings.Contains(name, "update") {
				if err := reg.Update(bounded(t), func(i *registry.Instance) { i.Weight = 7 }); err != nil {
					t.Fatal(err)
				}
			}
			before := reg.State()
			if err := take(before); err != nil {
				t.Fatal(err)
			}
			begin := time.Now()
			gone := eventually(t, cli, key, before.Revision, func(ev *clientv3.Event) bool { return ev.Type == clientv3.EventTypeDelete })
			back := eventually(t, cli, key, gone.Kv.ModRevision, isPut)
			t.Logf("back after %v", time.Since(begin))
			if string(back.Kv.Value) == "" || back.Kv.Lease == 0 {
				t.Errorf("came back as %v", back.Kv)
			}
			if s := reg.State(); s.Losses == 0 || s.LostBecause == "" {
				t.Errorf("state %+v, want it to tell of the loss", s)
			}
			if err := reg.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestManyAreRegisteredInFewTransactions(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	r, err := registry.New(cli, &registry.Options{Prefix: prefix})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var n int64 = 2500 // three leases
	if means.Race {    // a transaction of 128 takes the member a second then
		n = 300
	}
	var all []registry.Instance
	for i := range n {
		all = append(all, web(fmt.Sprint("i", i)))
	}
	before := get(t, cli, "nothing").Header.Revision
	regs, err := r.Register(bounded(t), all...)
	if err != nil || int64(len(regs)) != n {
		t.Fatalf("got %d, %v", len(regs), err)
	}
	resp, err := cli.Get(bounded(t), prefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil || resp.Count != n {
		t.Fatalf("got %v keys, %v, want %d", resp, err, n)
	}
	if took := resp.Header.Revision - before; took > n/100 {
		t.Errorf("%d transactions for %d instances, want some %d", took, n, n/128+1)
	}
	// One lost key among many watched by their prefix comes back.
	at := resp.Header.Revision
	if _, err := cli.Delete(bounded(t), prefix+"web/i77"); err != nil {
		t.Fatal(err)
	}
	gone := eventually(t, cli, prefix+"web/i77", at, func(ev *clientv3.Event) bool { return ev.Type == clientv3.EventTypeDelete })
	eventually(t, cli, prefix+"web/i77", gone.Kv.ModRevision, isPut)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	resp, err = cli.Get(bounded(t), prefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil || resp.Count != 0 {
		t.Errorf("after Close: %v keys, %v", resp, err)
	}
}

func TestUpdatesAtOnceLoseNothing(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	given := map[string]string{"team": "search"}
	i := web("a")
	i.Metadata = given
	reg := register(t, cli, i, &registry.Options{Prefix: prefix})
	var updating sync.WaitGroup
	for n := range 20 {
		updating.Go(func() {
			if err := reg.Update(bounded(t), func(i *registry.Instance) { i.Metadata[fmt.Sprint(n)] = "x" }); err != nil {
				t.Error(err)
			}
		})
		updating.Go(func() {
			if err := reg.Update(bounded(t), func(i *registry.Instance) { i.Weight++ }); err != nil {
				t.Error(err)
			}
		})
	}
	updating.Wait()
	refused := reg.Update(bounded(t), func(i *registry.Instance) { i.Weight, i.Metadata["bad"] = -1, "x" })
	reg.Instance().Metadata["mine"] = "x"
	got, err := registry.Decode(prefix, prefix+"web/a", string(get(t, cli, prefix+"web/a").Kvs[0].Value))
	if err != nil || got.Weight != 21 || len(got.Metadata) != 21 {
		t.Errorf("got %+v, %v, want weight 21 and 21 entries of metadata", got, err)
	}
	if !errors.Is(refused, registry.ErrInvalid) || len(reg.Instance().Metadata) != 21 || len(given) != 1 {
		t.Errorf("%v; the registration has %v, the caller %v: want what was refused, or is others', nowhere", refused, reg.Instance().Metadata, given)
	}
}

// A handler may ask for the state that a line is about.
func TestALogHandlerMayAskForTheState(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	var reg atomic.Pointer[registry.Registration]
	asked := make(chan registry.State, 10)
	log := slog.New(slog.NewTextHandler(writer(func(b []byte) {
		if r := reg.Load(); r != nil {
			asked <- r.State()
		}
	}), nil))
	r := register(t, cli, web("a"), &registry.Options{Prefix: prefix, Logger: log})
	reg.Store(r)
	if _, err := cli.Delete(bounded(t), prefix+"web/a"); err != nil {
		t.Fatal(err)
	}
	for range 2 { // lost, and back
		select {
		case <-asked:
		case <-bounded(t).Done():
			t.Fatal("no line, or no state")
		}
	}
}

// The handler of a shared Keeper, too, whatever found the lease past its deadline.
func TestAKeepersLogHandlerMayAskForTheState(t *testing.T) {
	t.Parallel()
	c := etcdtest.NewCluster(t, &cluster.Options{Members: 1})
	cli := etcdtest.Client(t, c)
	var reg atomic.Pointer[registry.Registration]
	k := lease.NewKeeper(cli, &lease.Options{TTL: 2 * time.Second, Logger: slog.New(slog.NewTextHandler(writer(func([]byte) {
		if r := reg.Load(); r != nil {
			r.State()
		}
	}), nil))})
	defer k.Close()
	r := register(t, cli, web("a"), &registry.Options{Keeper: k})
	reg.Store(r)
	ctx, cancel := context.WithCancel(bounded(t))
	var polling sync.WaitGroup
	for range 20 { // one of them is the first to see it
		polling.Go(func() {
			for ctx.Err() == nil && r.State().Registered {
				runtime.Gosched()
			}
		})
	}
	if _, err := c.Pause(t.Context(), "etcd1"); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { polling.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-ctx.Done():
		t.Fatal("a question for the state hangs")
	}
	cancel()
	if _, err := c.Resume(t.Context(), "etcd1"); err != nil {
		t.Fatal(err)
	}
}

type writer func([]byte)

func (w writer) Write(b []byte) (int, error) {
	w(b)
	return len(b), nil
}

func TestWithoutItsKeeperNothingHangs(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	k := lease.NewKeeper(cli, nil)
	r, err := registry.New(cli, &registry.Options{Prefix: prefix, Keeper: k})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Register(bounded(t), web("a")); !errors.Is(err, registry.ErrClosed) {
		t.Errorf("got %v, want ErrClosed", err)
	}
}

// lines are those of a log.
func TestAKeeperOfFewKeysServesMany(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	k := lease.NewKeeper(cli, &lease.Options{Keys: 10})
	defer k.Close()
	r, err := registry.New(cli, &registry.Options{Prefix: prefix, Keeper: k})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var all []registry.Instance
	for n := range 50 {
		all = append(all, web(fmt.Sprint(n)))
	}
	if _, err := r.Register(bounded(t), all...); err != nil {
		t.Fatal(err)
	}
	if got := len(k.Stats().Leases); got < 5 {
		t.Errorf("%d leases of 10 keys for 50 instances", got)
	}
}

func TestUpdateKeepsKeyAndLeaseAndDrainIsSeen(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	reg := register(t, cli, web("a"), &registry.Options{Prefix: prefix})
	before := get(t, cli, prefix+"web/a").Kvs[0]
	if err := reg.Drain(bounded(t), "deploy"); err != nil {
		t.Fatal(err)
	}
	after := get(t, cli, prefix+"web/a").Kvs[0]
	i, err := registry.Decode(prefix, prefix+"web/a", string(after.Value))
	if err != nil || i.Status != registry.Draining || i.Reason != "deploy" {
		t.Errorf("got %+v, %v", i, err)
	}
	if after.Lease != before.Lease || after.CreateRevision != before.CreateRevision {
		t.Errorf("got %v, want the key and lease of %v", after, before)
	}
	for text, change := range map[string]func(*registry.Instance){
		"weight -1":             func(i *registry.Instance) { i.Weight = -1 },
		"close it and register": func(i *registry.Instance) { i.ID = "b" },
	} {
		if err := reg.Update(bounded(t), change); !errors.Is(err, registry.ErrInvalid) || !strings.Contains(err.Error(), text) {
			t.Errorf("got %v, want ErrInvalid with %q", err, text)
		}
	}
}

func TestEtcdsOwnNamingReadsOurServices(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	register(t, cli, web("a"), &registry.Options{Prefix: prefix})
	manager, err := endpoints.NewManager(cli, prefix+"web")
	if err != nil {
		t.Fatal(err)
	}
	all, err := manager.List(bounded(t))
	if err != nil || all[prefix+"web/a"].Addr != "10.0.0.1:80" {
		t.Errorf("got %v, %v", all, err)
	}
}

func TestTheOriginalsKeyAndValueArePossible(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	register(t, cli, registry.Instance{Service: "web", ID: "node1", Raw: "value-2379"}, &registry.Options{Prefix: prefix})
	if kvs := get(t, cli, prefix+"web/node1").Kvs; len(kvs) != 1 || string(kvs[0].Value) != "value-2379" {
		t.Errorf("got %v", kvs)
	}
}

func TestWhatIsLeftOutIsCompleted(t *testing.T) {
	if _, err := registry.Advertise(":8080"); err != nil {
		t.Skip("this machine has no network of its own: ", err)
	}
	cli, prefix := etcdtest.New(t)
	reg := register(t, cli, registry.Instance{Service: "web", Addr: ":8080"}, &registry.Options{Prefix: prefix})
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	i := reg.Instance()
	if i.ID != host+"-8080" || strings.HasPrefix(i.Addr, ":") || strings.HasPrefix(i.Addr, "127.") || !strings.HasSuffix(i.Addr, ":8080") {
		t.Errorf("registered as %s at %s, want %s-8080 at an address of this machine's network", i.ID, i.Addr, host)
	}
	if got := get(t, cli, prefix+"web/"+i.ID).Kvs; len(got) != 1 {
		t.Errorf("in etcd: %v", got)
	}
}

func TestBadNamesSendNothing(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	for _, opts := range []*registry.Options{{Prefix: "no-slash"}, {Prefix: "/a//b/"}, {Prefix: "/../"}, {Prefix: "/a\x00/"}} {
		if _, err := registry.Register(bounded(t), cli, web("a"), opts); !errors.Is(err, registry.ErrInvalid) {
			t.Errorf("prefix %q: got %v, want ErrInvalid", opts.Prefix, err)
		}
	}
	before := get(t, cli, prefix).Header.Revision
	if _, err := registry.Register(bounded(t), cli, web("a/b"), nil); !errors.Is(err, registry.ErrInvalid) {
		t.Errorf("got %v, want ErrInvalid", err)
	}
	if after := get(t, cli, prefix).Header.Revision; after != before {
		t.Errorf("revision %d, want %d: nothing was to be sent", after, before)
	}
}

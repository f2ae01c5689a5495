package inventory_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	"go.etcd.io/etcd/client/v3/naming/endpoints"
	"go.uber.org/goleak"

	"github.com/etcdkit/etcdkit/election"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/internal/means"
	"github.com/etcdkit/etcdkit/inventory"
	"github.com/etcdkit/etcdkit/lock"
	"github.com/etcdkit/etcdkit/registry"
)

func TestMain(m *testing.M) {
	means.TestsAtATime(4)
	goleak.VerifyTestMain(etcdtest.Main(m))
}

// within bounds what a test waits for, on a machine that does much else.
const within = 60 * time.Second

func bounded(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	t.Cleanup(cancel)
	return ctx
}

func read(t testing.TB, cli *clientv3.Client, opts *inventory.Options) *inventory.Inventory {
	t.Helper()
	inv, err := inventory.Read(bounded(t), cli, opts)
	if err != nil {
		t.Fatal(err)
	}
	return inv
}

// grant grants a lease on the shared server, and revokes it when the test ends.
func grant(t testing.TB, cli *clientv3.Client, ttl int64) clientv3.LeaseID {
	t.Helper()
	id := grantOn(t, cli, ttl)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), within)
		defer cancel()
		_, _ = cli.Revoke(ctx, id)
	})
	return id
}

// grantOn grants a lease on a cluster that ends with the test.
func grantOn(t testing.TB, cli *clientv3.Client, ttl int64) clientv3.LeaseID {
	t.Helper()
	resp, err := cli.Grant(bounded(t), ttl)
	if err != nil {
		t.Fatal(err)
	}
	return resp.ID
}

func put(t testing.TB, cli *clientv3.Client, key, value string, id clientv3.LeaseID) {
	t.Helper()
	if _, err := cli.Put(bounded(t), key, value, clientv3.WithLease(id)); err != nil {
		t.Fatal(err)
	}
}

func session(t testing.TB, cli *clientv3.Client) *concurrency.Session {
	t.Helper()
	s, err := concurrency.NewSession(cli, concurrency.WithTTL(60))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func acquire(t testing.TB, cli *clientv3.Client, name string) *lock.Hold {
	t.Helper()
	m := lock.New(cli, name, nil)
	t.Cleanup(func() { m.Close() })
	h, err := m.Acquire(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func find(t testing.TB, inv *inventory.Inventory, id clientv3.LeaseID) *inventory.Lease {
	t.Helper()
	for _, l := range inv.Leases {
		if l.ID == id {
			return l
		}
	}
	t.Fatalf("lease %x is not in the inventory of %d", id, len(inv.Leases))
	return nil
}

// kinds are the keys of all leases below a prefix, and what they are.
func kinds(inv *inventory.Inventory, prefix string) (all []string) {
	for _, l := range inv.Leases {
		for _, k := range l.Keys {
			if rest, ok := strings.CutPrefix(k.Key, prefix); ok {
				name, _, _ := strings.Cut(rest, "/")
				all = append(all, fmt.Sprint(name, " ", k.Kind))
			}
		}
	}
	slices.Sort(all)
	return all
}

func TestWhateverCoordinatesIsFoundWhereverItIs(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	acquire(t, cli, prefix+"ourlock")
	theirs := concurrency.NewMutex(session(t, cli), prefix+"theirlock")
	if err := theirs.Lock(bounded(t)); err != nil {
		t.Fatal(err)
	}
	e := election.New(cli, prefix+"ourelection", nil)
	t.Cleanup(func() { e.Close() })
	if _, err := e.Campaign(bounded(t), "10.0.0.1:80"); err != nil {
		t.Fatal(err)
	}
	if err := concurrency.NewElection(session(t, cli), prefix+"theirelection").Campaign(bounded(t), "10.0.0.2:80"); err != nil {
		t.Fatal(err)
	}
	r, err := registry.Register(bounded(t), cli, registry.Instance{Service: "web", ID: "a", Addr: "10.0.0.3:80"}, &registry.Options{Prefix: prefix + "ourservices/"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	s := session(t, cli)
	m, err := endpoints.NewManager(cli, prefix+"theirservice")
	if err != nil {
		t.Fatal(err)
	}
	if err := m.AddEndpoint(bounded(t), prefix+"theirservice/1", endpoints.Endpoint{Addr: "10.0.0.4:80"}, clientv3.WithLease(s.Lease())); err != nil {
		t.Fatal(err)
	}
	put(t, cli, prefix+"cache/page", `{"title":"no address"}`, s.Lease())
	put(t, cli, prefix+"plain", "without a lease", 0)

	inv := read(t, cli, nil)
	got, want := kinds(inv, prefix), []string{
		"cache plain", "ourelection candidate", "ourlock lock", "ourservices instance",
		"theirelection candidate", "theirlock lock", "theirservice instance",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n\t%v\nwant\n\t%v", got, want)
	}
	wantNames(t, inv, prefix)
	if inv.Revision == 0 || inv.Ranges != nil || inv.OmittedLeases != 0 || inv.OmittedKeys != 0 {
		t.Errorf("revision %d, ranges %v, %d leases and %d keys omitted: want a revision and all", inv.Revision, inv.Ranges, inv.OmittedLeases, inv.OmittedKeys)
	}
}

func wantNames(t *testing.T, inv *inventory.Inventory, prefix string) {
	t.Helper()
	var names []string
	for _, q := range inv.Locks {
		if strings.HasPrefix(q.Name, prefix) {
			names = append(names, fmt.Sprintf("lock %s of %d", strings.TrimPrefix(q.Name, prefix), q.Count))
		}
	}
	for _, q := range inv.Elections {
		if strings.HasPrefix(q.Name, prefix) {
			names = append(names, fmt.Sprintf("election %s: %s", strings.TrimPrefix(q.Name, prefix), q.Candidates[0].Value))
		}
	}
	for _, s := range inv.Services {
		if strings.HasPrefix(s.Prefix, prefix) {
			names = append(names, fmt.Sprintf("service %s at %s", s.Name, s.Instances[0].Addr))
		}
	}
	want := []string{
		"lock ourlock of 1", "lock theirlock of 1", "election ourelection: 10.0.0.1:80", "election theirelection: 10.0.0.2:80",
		"service theirservice at 10.0.0.4:80", "service web at 10.0.0.3:80",
	}
	if !slices.Equal(names, want) {
		t.Errorf("got\n\t%q\nwant\n\t%q", names, want)
	}
}

func TestAKeyWithoutALeaseIsInTheQueueOfItsLock(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	name := prefix + "jobs"
	acquire(t, cli, name)
	put(t, cli, name+"/by hand", "", 0)
	for _, q := range read(t, cli, nil).Locks {
		if q.Name == name {
			if q.Count != 2 || q.Entries[1].Key != name+"/by hand" || q.Entries[1].Lease != 0 {
				t.Errorf("got %+v, want the hold and the key without a lease", q)
			}
			return
		}
	}
	t.Errorf("no lock %q", name)
}

func TestALeaseTellsItsTimeAndItsKeys(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	id := grant(t, cli, 300)
	acquire(t, cli, prefix+"jobs")
	put(t, cli, prefix+"b", "12345", id)
	put(t, cli, prefix+"a", "", id)
	for what, l := range map[string]*inventory.Lease{"Read": find(t, read(t, cli, nil), id), "Lookup": lookup(t, cli, id)} {
		if l.Granted != 300*time.Second || l.Remaining > l.Granted || l.Remaining < l.Granted-within || l.ReadAt.IsZero() {
			t.Errorf("%s: granted %v, remaining %v at %v, want 5m and a little less", what, l.Granted, l.Remaining, l.ReadAt)
		}
		if l.KeyCount != 2 || len(l.Keys) != 2 || l.Keys[0].Key != prefix+"a" || l.Keys[1].ValueSize != 5 || l.Keys[1].Version != 1 {
			t.Errorf("%s: got %d keys, %+v", what, l.KeyCount, l.Keys)
		}
	}
	q, err := lock.Entries(bounded(t), cli, prefix+"jobs", nil)
	if err != nil {
		t.Fatal(err)
	}
	if l := lookup(t, cli, q.Entries[0].Lease); len(l.Keys) != 1 || l.Keys[0].Entry == nil || l.Keys[0].Entry.Status != lock.Holds {
		t.Errorf("the lease of a lock: got %+v, want its hold", l.Keys)
	}
}

func lookup(t testing.TB, cli *clientv3.Client, id clientv3.LeaseID) *inventory.Lease {
	t.Helper()
	l, err := inventory.Lookup(bounded(t), cli, id, nil)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestALeaseThatIsNotThereIsNotFound(t *testing.T) {
	cli, _ := etcdtest.New(t)
	l, err := inventory.Lookup(bounded(t), cli, 0xabc, nil)
	if !errors.Is(err, inventory.ErrNotFound) || l != nil || !strings.Contains(err.Error(), "abc") {
		t.Errorf("got %v, %v, want ErrNotFound with the id", l, err)
	}
}

func TestWhatIsBeyondABoundIsCounted(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	for range 3 {
		id := grant(t, cli, 300)
		for i := range 3 {
			put(t, cli, fmt.Sprint(prefix, id, i), "", id)
		}
	}
	all := read(t, cli, nil)
	few := read(t, cli, &inventory.Options{MostLeases: 1, MostKeys: 2})
	if len(few.Leases) != 1 || few.OmittedLeases != len(all.Leases)-1 {
		t.Errorf("got %d leases and %d omitted, want 1 of %d", len(few.Leases), few.OmittedLeases, len(all.Leases))
	}
	few = read(t, cli, &inventory.Options{MostKeys: 2, Prefixes: []string{prefix}})
	keys, count := 0, 0
	for _, l := range few.Leases {
		keys, count = keys+len(l.Keys), count+l.KeyCount
	}
	if keys != 2 || count < 9 || few.OmittedKeys != 7 {
		t.Errorf("got %d keys, %d counted and %d omitted, want 2, at least 9, and 7", keys, count, few.OmittedKeys)
	}
}

func TestOnlyKeysBelowThePrefixesAreRead(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	id := grant(t, cli, 300)
	put(t, cli, prefix+"in/a", "", id)
	put(t, cli, prefix+"out/a", "", id)
	l := find(t, read(t, cli, &inventory.Options{Prefixes: []string{prefix + "in/"}}), id)
	if l.KeyCount != 2 || len(l.Keys) != 1 || l.Keys[0].Key != prefix+"in/a" {
		t.Errorf("got %d keys, %+v, want the one below the prefix, of 2", l.KeyCount, l.Keys)
	}
}

func TestABadOptionIsRefused(t *testing.T) {
	cli, _ := etcdtest.New(t)
	for _, o := range []inventory.Options{{MostLeases: -1}, {MostKeys: -1}, {Concurrency: -1}} {
		if _, err := inventory.Read(bounded(t), cli, &o); !errors.Is(err, inventory.ErrInvalid) {
			t.Errorf("Read with %+v: got %v, want ErrInvalid", o, err)
		}
		if _, err := inventory.Lookup(bounded(t), cli, 1, &o); !errors.Is(err, inventory.ErrInvalid) {
			t.Errorf("Lookup with %+v: got %v, want ErrInvalid", o, err)
		}
	}
}

func TestAKeySaysWhatItIsWithoutTerminalEscapes(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	id := grant(t, cli, 300)
	put(t, cli, prefix+"\033[2J", "", id)
	put(t, cli, fmt.Sprintf("%selection/%x", prefix, int64(id)), "\033]0;title\a", id)
	for _, k := range lookup(t, cli, id).Keys {
		if text := k.String(); strings.ContainsAny(text, "\033\a") {
			t.Errorf("control characters in %q", text)
		}
	}
}

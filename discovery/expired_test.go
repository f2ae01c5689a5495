package discovery_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/discovery"
	"github.com/etcdkit/etcdkit/registry"
)

// leased puts records on a lease, which is returned.
func leased(t testing.TB, cli *clientv3.Client, records map[string]string) clientv3.LeaseID {
	t.Helper()
	l, err := cli.Grant(bounded(t), 600)
	if err != nil {
		t.Fatal(err)
	}
	for key, value := range records {
		if _, err := cli.Put(bounded(t), key, value, clientv3.WithLease(l.ID)); err != nil {
			t.Fatal(err)
		}
	}
	return l.ID
}

func revoke(t testing.TB, cli *clientv3.Client, id clientv3.LeaseID) {
	t.Helper()
	if _, err := cli.Revoke(bounded(t), id); err != nil {
		t.Fatal(err)
	}
}

// statuses are the list with each instance's status.
func statuses(v *discovery.View) string {
	var s []string
	for _, i := range v.Instances() {
		s = append(s, i.ID+":"+string(i.Status))
	}
	return strings.Join(s, " ")
}

// untilStatuses waits for a list.
func untilStatuses(t testing.TB, v *discovery.View, want string) {
	t.Helper()
	for ctx := bounded(t); ; {
		changed := v.Changed()
		if statuses(v) == want {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("list %q, want %q; state %+v", statuses(v), want, v.State())
		}
	}
}

// forLong keeps what is kept for longer than any test waits, so that what is gone was not kept.
var forLong = discovery.Options{KeepExpired: time.Hour}

// ours is a record as package registry writes it.
const ours = `{"Addr":"h:PORT","Metadata":{"weight":1,"status":"passing","host":"vm","pid":7}}`

func names(prefix, ids, value string) map[string]string {
	records := make(map[string]string)
	for n, id := range strings.Fields(ids) {
		records[prefix+"web/"+id] = strings.ReplaceAll(value, "PORT", fmt.Sprint(n+1))
	}
	return records
}

// What most instances lose at once stays listed, marked, for a while.
func TestInstancesThatVanishAtOnceAreKeptAndMarked(t *testing.T) {
	t.Parallel()
	v, cli, prefix := view(t, discovery.Options{KeepExpired: 2 * time.Second}, nil)
	l := leased(t, cli, names(prefix, "a b c", ours))
	put(t, cli, prefix+"web/d", "h:9")
	untilStatuses(t, v, "a:passing b:passing c:passing d:passing")
	began := time.Now()
	revoke(t, cli, l)
	untilStatuses(t, v, "a:expired b:expired c:expired d:passing")
	if s := v.State(); !s.Fresh || s.Expired != 3 {
		t.Errorf("state %+v, want fresh, and 3 kept", s)
	}
	if a := v.Instances()[0]; !strings.Contains(a.Reason, "gone since") {
		t.Errorf("reason %q, want it to say what happened", a.Reason)
	}
	if got := count(t, 400, v.Pick, id); len(got) != 4 || got["a"] != 100 {
		t.Errorf("picks %v, want the kept ones, too", got)
	}
	if list, err := discovery.List(bounded(t), cli, "web", &discovery.Options{Prefix: prefix}); err != nil || ids(list) != "d" {
		t.Errorf("List: %q, %v, want what is registered", ids(list), err)
	}
	put(t, cli, prefix+"web/b", "h:2")  // is back
	put(t, cli, prefix+"web/a2", "h:1") // is a, under another name
	untilStatuses(t, v, "a2:passing b:passing c:expired d:passing")
	untilStatuses(t, v, "a2:passing b:passing d:passing")
	if took := time.Since(began); took < 2*time.Second {
		t.Errorf("c was kept for %v, want 2 s", took)
	}
	if s := v.State(); s.Expired != 0 {
		t.Errorf("state %+v, want none kept", s)
	}
}

func TestFewInstancesThatVanishAreNotKept(t *testing.T) {
	v, cli, prefix := view(t, forLong, map[string]string{"x": "h:7", "y": "h:8", "z": "h:9"})
	l := leased(t, cli, names(prefix, "a b c", ours))
	untilStatuses(t, v, "a:passing b:passing c:passing x:passing y:passing z:passing")
	revoke(t, cli, l)
	untilStatuses(t, v, "x:passing y:passing z:passing") // half of them is not most
	put(t, cli, prefix+"web/end", "h:10")
	untilStatuses(t, v, "end:passing x:passing y:passing z:passing")
}

// Two crashes within half a minute are an ordinary minute of a small service.
func TestTwoInstancesThatCrashOneAfterTheOtherAreNotKept(t *testing.T) {
	t.Parallel()
	for _, others := range []string{"", "c"} {
		t.Run("beside "+others, func(t *testing.T) {
			t.Parallel()
			v, cli, prefix := view(t, forLong, nil)
			leased(t, cli, names(prefix, others, strings.ReplaceAll(ours, "h:PORT", "other:PORT")))
			a, b := leased(t, cli, names(prefix, "a", ours)), leased(t, cli, map[string]string{prefix + "web/b": strings.ReplaceAll(ours, "PORT", "2")})
			rest := ""
			if others != "" {
				rest = " c:passing"
			}
			untilStatuses(t, v, "a:passing b:passing"+rest)
			revoke(t, cli, a)
			untilStatuses(t, v, "b:passing"+rest)
			<-time.After(5500 * time.Millisecond) // the fault: more than five seconds apart
			revoke(t, cli, b)
			untilStatuses(t, v, strings.TrimSpace(rest))
		})
	}
}

func TestTwoOfASmallServiceThatVanishAtOnceAreKept(t *testing.T) {
	v, cli, prefix := view(t, forLong, nil)
	l := leased(t, cli, names(prefix, "a b", ours))
	untilStatuses(t, v, "a:passing b:passing")
	revoke(t, cli, l)
	untilStatuses(t, v, "a:expired b:expired")
}

func TestASingleInstanceThatDiesIsNotKept(t *testing.T) {
	v, cli, prefix := view(t, forLong, nil)
	l := leased(t, cli, names(prefix, "a", ours))
	untilStatuses(t, v, "a:passing")
	revoke(t, cli, l)
	untilStatuses(t, v, "")
}

func TestWithoutProtectionNoInstanceIsKept(t *testing.T) {
	v, cli, prefix := view(t, discovery.Options{KeepExpired: -1}, nil)
	l := leased(t, cli, names(prefix, "a b c", ours))
	untilStatuses(t, v, "a:passing b:passing c:passing")
	revoke(t, cli, l)
	untilStatuses(t, v, "")
}

func TestAnInstanceThatCannotSayDrainingIsNotKept(t *testing.T) {
	v, cli, prefix := view(t, forLong, nil)
	for _, value := range []string{"h:PORT", "value-PORT", `{"Op":0,"Addr":"h:PORT","Metadata":null}`} {
		l := leased(t, cli, names(prefix, "a b c", value))
		untilStatuses(t, v, "a:passing b:passing c:passing")
		revoke(t, cli, l)
		untilStatuses(t, v, "")
	}
}

func TestLeasesThatEndOneAfterTheOtherCountTogether(t *testing.T) {
	v, cli, prefix := view(t, forLong, nil)
	var leases []clientv3.LeaseID
	for _, one := range []string{"a", "b", "c", "d", "e"} {
		leases = append(leases, leased(t, cli, map[string]string{prefix + "web/" + one: strings.ReplaceAll(ours, "PORT", fmt.Sprint(len(leases)+1))}))
	}
	untilStatuses(t, v, "a:passing b:passing c:passing d:passing e:passing")
	for _, l := range leases {
		revoke(t, cli, l)
	}
	untilStatuses(t, v, "a:expired b:expired c:expired d:expired e:expired")
}

// The word and the deletion may reach the view as one change.
func TestAnInstanceThatSaidDrainingLeavesImmediately(t *testing.T) {
	v, cli, prefix := view(t, forLong, nil)
	r, err := registry.New(cli, &registry.Options{Prefix: prefix})
	if err != nil {
		t.Fatal(err)
	}
	var all []registry.Instance
	for n := range 20 {
		all = append(all, registry.Instance{Service: "web", ID: fmt.Sprintf("%02d", n), Addr: fmt.Sprintf("h:%d", n+1)})
	}
	for range 5 {
		r, err := registry.New(cli, &registry.Options{Prefix: prefix})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Register(bounded(t), all...); err != nil {
			t.Fatal(err)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		untilStatuses(t, v, "")
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestAnInstanceWhoseAddressIsTakenIsNotKept(t *testing.T) {
	v, cli, prefix := view(t, forLong, nil)
	l := leased(t, cli, names(prefix, "a b c", ours))
	again := leased(t, cli, map[string]string{ // the first two were started again, under other names
		prefix + "web/a2": strings.ReplaceAll(ours, "PORT", "1"), prefix + "web/b2": strings.ReplaceAll(ours, "PORT", "2"),
	})
	untilStatuses(t, v, "a:passing a2:passing b:passing b2:passing c:passing")
	revoke(t, cli, l)
	untilStatuses(t, v, "a2:passing b2:passing") // one is missing, of three
	revoke(t, cli, again)
	untilStatuses(t, v, "a2:expired b2:expired c:expired")
}

func TestAValueThatTurnsIntoGarbageHasNotExpired(t *testing.T) {
	v, cli, prefix := view(t, forLong, nil)
	leased(t, cli, names(prefix, "a b c", ours))
	untilStatuses(t, v, "a:passing b:passing c:passing")
	for _, id := range []string{"a", "b"} {
		resp, err := cli.Get(bounded(t), prefix+"web/"+id)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := cli.Put(bounded(t), prefix+"web/"+id, `{"Addr":`, clientv3.WithLease(clientv3.LeaseID(resp.Kvs[0].Lease))); err != nil {
			t.Fatal(err)
		}
	}
	untilStatuses(t, v, "c:passing")
	if s := v.State(); len(s.Bad) != 2 || s.Expired != 0 {
		t.Errorf("state %+v, want two bad values and none kept", s)
	}
}

func TestAKeyNeverGoesToAnInstanceThatIsNotListed(t *testing.T) {
	v, cli, prefix := view(t, forLong, nil)
	for round := range 5 {
		l := leased(t, cli, names(prefix, "a b c", ours))
		untilStatuses(t, v, "a:passing b:passing c:passing")
		if _, err := v.PickFor("key"); err != nil { // there is a table
			t.Fatal(err)
		}
		revoke(t, cli, l)
		untilStatuses(t, v, "a:expired b:expired c:expired")
		<-time.After(100 * time.Millisecond) // the table has them
		var ops []clientv3.Op
		for n, id := range []string{"a", "b", "c"} {
			ops = append(ops, clientv3.OpPut(prefix+"web/"+id, fmt.Sprintf("h:%d", 100*(round+1)+n)))
		}
		changed := v.Changed()
		if _, err := cli.Txn(bounded(t)).Then(ops...).Commit(); err != nil {
			t.Fatal(err)
		}
		<-changed
		for n := range 20 {
			if i, err := v.PickFor(fmt.Sprint(n)); err != nil || i.Status == discovery.Expired {
				t.Fatalf("got %v, %v: it is in no list", i, err)
			}
		}
		if _, err := cli.Delete(bounded(t), prefix, clientv3.WithPrefix()); err != nil {
			t.Fatal(err)
		}
		untilStatuses(t, v, "")
	}
}

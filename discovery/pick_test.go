package discovery_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"strings"
	"sync"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/discovery"
	"github.com/etcdkit/etcdkit/etcdtest"
)

// errDown is what a caller reports of an instance that is not there.
var errDown = errors.New("connection refused")

// meta is a record with metadata, in the format of etcd's naming package.
func meta(format string, args ...any) string {
	return `{"Addr":"h:1","Metadata":{` + fmt.Sprintf(format, args...) + `}}`
}

// view opens a view of a service with these records, "id=value" each.
func view(t testing.TB, opts discovery.Options, records map[string]string) (*discovery.View, *clientv3.Client, string) {
	t.Helper()
	cli, prefix := etcdtest.New(t)
	for id, value := range records {
		put(t, cli, prefix+"web/"+id, value)
	}
	opts.Prefix = prefix
	v, err := discovery.Open(bounded(t), cli, "web", &opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.Close() })
	return v, cli, prefix
}

// count picks n times and counts by key.
func count(t testing.TB, n int, pick func() (*discovery.Instance, error), key func(*discovery.Instance) string) map[string]int {
	t.Helper()
	got := make(map[string]int)
	for range n {
		i, err := pick()
		if err != nil {
			t.Fatal(err)
		}
		got[key(i)]++
	}
	return got
}

func id(i *discovery.Instance) string   { return i.ID }
func zone(i *discovery.Instance) string { return i.Zone }

// near tells whether a count is what was expected, but for a part of it.
func near(got, want, part float64) bool { return math.Abs(got-want) <= part*want }

func TestRoundRobinTakesEachInTurnWhateverItsWeight(t *testing.T) {
	v, _, _ := view(t, discovery.Options{Policy: discovery.RoundRobin}, map[string]string{
		"a": meta(`"weight":1`), "b": meta(`"weight":50`), "c": meta(`"weight":0`),
	})
	got := count(t, 300, v.Pick, id)
	if got["a"] != 100 || got["b"] != 100 || got["c"] != 100 {
		t.Errorf("got %v, want 100 each", got)
	}
}

func TestWithoutAnyWeightAllInstancesAreAlike(t *testing.T) {
	v, _, _ := view(t, discovery.Options{}, map[string]string{"a": meta(`"weight":0`), "b": meta(`"weight":0`)})
	if got := count(t, 100, v.Pick, id); got["a"] != 50 || got["b"] != 50 {
		t.Errorf("zero weights everywhere: got %v, want 50 each", got)
	}
}

func TestLeastPendingChoosesInstancesWithFewerRequests(t *testing.T) {
	v, _, _ := view(t, discovery.Options{Policy: discovery.LeastPending}, map[string]string{
		"slow": meta(`"weight":1`), "fast": meta(`"weight":1`), "big": meta(`"weight":4`),
	})
	// No request ends: each has as many under way as its weight says.
	var held []*discovery.Instance
	got := count(t, 600, func() (*discovery.Instance, error) {
		i, err := v.Pick()
		held = append(held, i)
		return i, err
	}, id)
	if !near(float64(got["big"]), 400, 0.1) || !near(float64(got["slow"]), 100, 0.2) {
		t.Errorf("under way: %v, want shares of 1, 1 and 4 of 600", got)
	}
	for _, i := range held { // all but slow's are answered
		if i.ID != "slow" {
			v.Report(i, nil)
		}
	}
	got = count(t, 300, func() (*discovery.Instance, error) {
		i, err := v.Pick()
		v.Report(i, nil)
		return i, err
	}, id)
	if got["slow"] > 30 {
		t.Errorf("slow has 100 requests under way, and got %d of 300 more: %v", got["slow"], got)
	}
}

func TestAFailedInstanceIsAvoidedUntilASuccess(t *testing.T) {
	for _, policy := range []discovery.Policy{discovery.Weighted, discovery.RoundRobin, discovery.LeastPending} {
		v, _, _ := view(t, discovery.Options{Policy: policy}, map[string]string{
			"a": meta(`"weight":1000`), "b": meta(`"weight":1`), "c": meta(`"weight":1`),
		})
		var a *discovery.Instance
		for a == nil || a.ID != "a" {
			var err error
			if a, err = v.Pick(); err != nil {
				t.Fatal(err)
			}
			v.Report(a, context.Canceled) // is not its fault
		}
		v.Report(a, errDown)
		pick := func() (*discovery.Instance, error) {
			i, err := v.Pick()
			v.Report(i, nil)
			return i, err
		}
		if got := count(t, 100, pick, id); got["a"] != 0 || got["b"] == 0 || got["c"] == 0 {
			t.Errorf("policy %d: a has just failed, and the picks were %v", policy, got)
		}
		if i, err := v.PickFor("any"); err != nil || i.ID == "a" {
			t.Errorf("policy %d: for a key: got %v, %v, want another one", policy, i, err)
		} else {
			v.Report(i, nil)
		}
		v.Report(a, nil)
		if got := count(t, 300, pick, id); got["a"] == 0 {
			t.Errorf("policy %d: a works again, and the picks were %v", policy, got)
		}
		if s := v.Stats(); s.Failures != 1 || s.Picks < 400 {
			t.Errorf("policy %d: state %+v, want 1 failure and the picks", policy, s)
		}
	}
}

func TestARecoveryEndsAPauseAndNoRequest(t *testing.T) {
	v, _, _ := view(t, discovery.Options{Policy: discovery.LeastPending}, map[string]string{"a": "h:1", "b": "h:2"})
	var a *discovery.Instance
	for n := 0; n < 50; {
		i, err := v.Pick()
		if err != nil {
			t.Fatal(err)
		}
		if i.ID == "a" {
			a, n = i, n+1 // under way from now on
		} else {
			v.Report(i, nil)
		}
		v.ReportRecovery(i)
	}
	v.Report(a, errDown)
	answered := func() (*discovery.Instance, error) {
		i, err := v.Pick()
		v.Report(i, nil)
		return i, err
	}
	if got := count(t, 100, answered, id); got["a"] != 0 {
		t.Errorf("a has just failed, and the picks were %v", got)
	}
	v.ReportRecovery(a)
	if got := count(t, 400, answered, id); got["a"] == 0 || got["a"] > 140 { // drawn twice in a quarter of them
		t.Errorf("a has recovered with 49 requests under way, and the picks were %v", got)
	}
}

// What a probe finds is a failure, and the end of none of the requests that are under way.
func TestAFailureThatAProbeFoundEndsNoRequest(t *testing.T) {
	v, _, _ := view(t, discovery.Options{Policy: discovery.LeastPending}, map[string]string{"a": "h:1", "b": "h:2"})
	const most = 50
	a := named(t, v, "a")
	for under := 0; under < most; { // so many of a's are under way, and none of b's
		i, err := v.Pick()
		if err != nil {
			t.Fatal(err)
		}
		if i.ID == "a" {
			under++
		} else {
			v.Report(i, nil)
		}
	}
	answered := func() (*discovery.Instance, error) {
		i, err := v.Pick()
		v.Report(i, nil)
		return i, err
	}
	for range most { // of those that fail together the first counts
		v.ReportFailure(a, errDown)
	}
	if got := count(t, 100, answered, id); got["a"] != 0 {
		t.Errorf("a probe of a has just failed, and the picks were %v", got)
	}
	if s := v.Stats(); s.Failures != most {
		t.Errorf("Stats: got %d failures, want %d", s.Failures, most)
	}
	v.ReportRecovery(a)
	if got := count(t, 400, answered, id); got["a"] == 0 || got["a"] > 140 { // drawn twice in a quarter of them
		t.Errorf("a has recovered with %d requests under way, and the picks were %v", most, got)
	}
	v.ReportFailure(nil, errDown)
	v.ReportFailure(new(discovery.Instance), errDown) // of no view
}

func TestWhenAllHaveFailedTheyArePickedAllTheSame(t *testing.T) {
	v, _, _ := view(t, discovery.Options{}, map[string]string{"a": "h:1", "b": "h:2", "c": "h:3"})
	for _, i := range v.Instances() {
		v.Report(i, errDown)
	}
	if got := count(t, 30, v.Pick, id); len(got) != 3 {
		t.Errorf("got %v, want all three", got)
	}
	if i, err := v.PickFor("key"); err != nil {
		t.Errorf("for a key: got %v, %v, want some instance", i, err)
	}
}

func TestAZoneServesItselfAndSpillsOverWhatItCannotTake(t *testing.T) {
	for _, test := range []struct {
		name  string
		zones string // of the instances, one letter each
		zone  string
		home  float64 // the share of picks that stays
	}{
		{"as many in each zone", "aabbcc", "a", 1},
		{"a zone with three quarters of its share", "aaabbbbbcccc", "a", 1}, // 1.4 × 3/12 × 3 = 1.05
		{"half the share", "abbbcc", "a", 0.7},                              // 1.4 × 1/6 × 3
		{"a tenth", "abbbbbbbbb", "a", 0.28},                                // 1.4 × 1/10 × 2
		{"one zone alone", "aaa", "a", 1},
		{"a zone without instances", "abc", "moon", 0},
		{"no zone", "abc", "", 0},
	} {
		records := make(map[string]string)
		for n, z := range test.zones {
			records[fmt.Sprint(n)] = meta(`"zone":"%c"`, z)
		}
		v, _, _ := view(t, discovery.Options{Zone: test.zone}, records)
		const n = 20_000
		got := count(t, n, v.Pick, zone)
		if home := float64(got[test.zone]) / n; math.Abs(home-test.home) > 0.02 {
			t.Errorf("%s: %.3f of the picks stayed in the zone, want %.2f: %v", test.name, home, test.home, got)
		}
		if test.home == 0 && len(got) != 3 {
			t.Errorf("%s: got %v, want all instances", test.name, got)
		}
	}
}

func TestAZoneWhoseInstancesAllFailIsLeft(t *testing.T) {
	v, _, _ := view(t, discovery.Options{Zone: "a"}, map[string]string{
		"1": meta(`"zone":"a"`), "2": meta(`"zone":"a"`), "3": meta(`"zone":"b"`), "4": meta(`"zone":"b"`),
	})
	for _, i := range v.Instances() {
		if i.Zone == "a" {
			v.Report(i, errDown)
		}
	}
	if got := count(t, 100, v.Pick, zone); got["b"] != 100 {
		t.Errorf("got %v, want zone b alone", got)
	}
}

// owners are the instances of a thousand keys.
func owners(t testing.TB, v *discovery.View) map[string]string {
	t.Helper()
	all := make(map[string]string)
	for n := range 1000 {
		key := fmt.Sprint("key", n)
		i, err := v.PickFor(key)
		if err != nil {
			t.Fatal(err)
		}
		all[key] = i.ID
	}
	return all
}

func moved(from, to map[string]string) (n int) {
	for key := range from {
		if from[key] != to[key] {
			n++
		}
	}
	return n
}

func TestAKeyStaysWithItsInstanceInEveryProcess(t *testing.T) {
	records := make(map[string]string)
	for n := range 10 {
		records[fmt.Sprint("i", n)] = fmt.Sprintf("h:%d", n+1)
	}
	v, cli, prefix := view(t, discovery.Options{}, records)
	first := owners(t, v)
	shares := make(map[string]int)
	for _, i := range first {
		shares[i]++
	}
	for n := range 10 {
		if got := shares[fmt.Sprint("i", n)]; got < 60 || got > 140 {
			t.Errorf("i%d has %d of 1,000 keys, want about 100", n, got)
		}
	}
	if n := moved(first, owners(t, open(t, cli, prefix))); n != 0 {
		t.Errorf("another view has other owners for %d of 1,000 keys", n)
	}

	// One leaves: its keys move at once, hardly any other one.
	changed := v.Changed()
	if _, err := cli.Delete(bounded(t), prefix+"web/i3"); err != nil {
		t.Fatal(err)
	}
	<-changed
	settle(t, v, func() map[string]string { return owners(t, open(t, cli, prefix)) })
	now := owners(t, v)
	for key, owner := range now {
		if owner == "i3" {
			t.Fatalf("%s belongs to i3, which has left", key)
		}
	}
	if n := moved(first, now) - shares["i3"]; n > 60 {
		t.Errorf("one of ten left, and %d of 1,000 keys moved that were not its own", n)
	}

	// It says that it drains, then it is back.
	put(t, cli, prefix+"web/i3", meta(`"status":"draining"`))
	until(t, v, strings.Join([]string{"i0", "i1", "i2", "i3", "i4", "i5", "i6", "i7", "i8", "i9"}, " "))
	if n := moved(now, owners(t, v)); n != 0 {
		t.Errorf("%d of 1,000 keys moved for an instance that drains", n)
	}
	put(t, cli, prefix+"web/i3", "h:4")
	settle(t, v, func() map[string]string { return first })
}

// settle waits until the view's table has the owners that it should have.
func settle(t testing.TB, v *discovery.View, want func() map[string]string) {
	t.Helper()
	for ctx := bounded(t); moved(owners(t, v), want()) > 0; {
		if ctx.Err() != nil {
			t.Fatalf("%d of 1,000 keys are elsewhere", moved(owners(t, v), want()))
		}
	}
}

func TestAKeyStaysWhenNoInstanceServes(t *testing.T) {
	v, _, _ := view(t, discovery.Options{}, map[string]string{
		"a": meta(`"status":"critical"`), "b": meta(`"status":"critical"`), "c": meta(`"status":"critical"`),
	})
	if got := count(t, 30, func() (*discovery.Instance, error) { return v.PickFor("key") }, id); len(got) != 1 {
		t.Errorf("got %v, want one instance", got)
	}
}

func TestOneHeavyInstanceHasMostKeysAndATableInNoTime(t *testing.T) {
	records := map[string]string{"heavy": meta(`"weight":1000000`)}
	for n := range 50 {
		records[fmt.Sprint("light", n)] = meta(`"weight":1`)
	}
	v, _, _ := view(t, discovery.Options{}, records)
	got := make(map[string]int)
	for _, i := range owners(t, v) {
		got[i]++
	}
	if got["heavy"] < 990 {
		t.Errorf("heavy has %d of 1,000 keys, want nearly all", got["heavy"])
	}
}

func TestKeysAreSharedByWeight(t *testing.T) {
	v, _, _ := view(t, discovery.Options{}, map[string]string{
		"a": meta(`"weight":1`), "b": meta(`"weight":3`), "c": meta(`"weight":6`),
	})
	got := make(map[string]int)
	for _, i := range owners(t, v) {
		got[i]++
	}
	for i, want := range map[string]float64{"a": 100, "b": 300, "c": 600} {
		if !near(float64(got[i]), want, 0.3) {
			t.Errorf("%s has %d of 1,000 keys, want about %v", i, got[i], want)
		}
	}
}

func TestPicksReportsAndChangesGoTogether(t *testing.T) {
	v, cli, prefix := view(t, discovery.Options{Policy: discovery.LeastPending, Zone: "a"}, map[string]string{"a": meta(`"zone":"a"`), "b": "h:2"})
	var picking sync.WaitGroup
	ctx, stop := context.WithCancel(bounded(t))
	for n := range 2 {
		picking.Go(func() {
			for k := 0; ctx.Err() == nil; k++ {
				i, err := v.Pick()
				if n == 1 {
					i, err = v.PickFor(fmt.Sprint(k))
				}
				if err != nil {
					t.Error(err)
					return
				}
				v.Report(i, map[bool]error{true: errDown}[k%100 == 0])
				runtime.Gosched() // etcd is in this process
			}
		})
	}
	for n := range 100 {
		key := fmt.Sprintf("%sweb/c%d", prefix, n%10)
		if n%3 == 0 {
			_, _ = cli.Delete(ctx, key)
		} else {
			put(t, cli, key, meta(`"weight":%d,"zone":"%c"`, n, 'a'+n%2))
		}
	}
	stop()
	picking.Wait()
	if _, err := discovery.Open(bounded(t), cli, "web", &discovery.Options{Policy: 7}); !errors.Is(err, discovery.ErrInvalid) {
		t.Errorf("policy 7: got %v, want ErrInvalid", err)
	}
}

package discovery_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/discovery"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/registry"
)

func TestRecordsOfOtherLibrariesAreInstances(t *testing.T) {
	v, _, _ := view(t, discovery.Options{}, map[string]string{
		"kitex":    `{"network":"tcp","address":"10.0.0.1:1","weight":10}`,
		"kratos":   `{"name":"web","endpoints":["grpc://10.0.0.1:2"]}`,
		"go-micro": `{"name":"web","nodes":[{"address":"10.0.0.1:3"}]}`,
		"by-hand":  `{"host":"10.0.0.1","port":4}`,
		"a-line":   "10.0.0.1:5\n",
		"text":     "anything",
		"none":     `{"name":"web"}`,
	})
	got := make(map[string]string)
	for _, i := range v.Instances() {
		got[i.ID] = i.Addr + i.Raw
	}
	want := map[string]string{"kitex": "10.0.0.1:1", "kratos": "10.0.0.1:2", "go-micro": "10.0.0.1:3", "by-hand": "10.0.0.1:4", "a-line": "10.0.0.1:5", "text": "anything"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("instances %v, want %v", got, want)
	}
	if bad := v.State().Bad; len(bad) != 1 {
		t.Errorf("bad values %v, want the one without an address", bad)
	}
}

func TestDecodeReadsAFormatOfTheUsersOwn(t *testing.T) {
	bad := errors.New("not like this")
	decode := func(prefix, key, value string) (registry.Instance, error) {
		addr, ok := strings.CutPrefix(value, "at ")
		switch {
		case ok:
			return registry.Instance{Service: "ignored", Addr: addr, Weight: 3}, nil
		case value == "bad":
			return registry.Instance{}, bad
		}
		return registry.Decode(prefix, key, value)
	}
	v, cli, prefix := view(t, discovery.Options{Decode: decode}, map[string]string{
		"a": "at h:1", "b": "h:2", "c": "bad", "d": "at nowhere",
	})
	var got []string
	for _, i := range v.Instances() {
		got = append(got, fmt.Sprintf("%s/%s at %s, %s, weight %d", i.Service, i.ID, i.Addr, i.Status, i.Weight))
	}
	if want := []string{"web/a at h:1, passing, weight 3", "web/b at h:2, passing, weight 1"}; !reflect.DeepEqual(got, want) {
		t.Errorf("instances %q, want %q", got, want)
	}
	s := v.State()
	if !errors.Is(s.Bad[prefix+"web/c"], bad) || !errors.Is(s.Bad[prefix+"web/d"], registry.ErrInvalid) {
		t.Errorf("bad values %v, want c as the decoder says, and d for its address", s.Bad)
	}
	put(t, cli, prefix+"web/e", "at h:5")
	untilStatuses(t, v, "a:passing b:passing e:passing")
}

// What others wrote is bounded where it is read, and cut where people read it.
func TestAHugeValueCostsAndSaysLittle(t *testing.T) {
	log := new(logged)
	v, cli, prefix := view(t, discovery.Options{Logger: log.logger()}, map[string]string{"good": "h:1"})
	huge := map[string]string{
		"address": `{"Addr":"` + strings.Repeat("\\u001b[2J", 130_000) + `"}`,
		"short":   `{"Addr":"` + strings.Repeat("\\u001b[2J", 6_000) + `"}`,
		"number":  `{"Addr":` + strings.Repeat("9", 60_000) + `}`,
		"text":    strings.Repeat("x", 1_300_000),
	}
	for id, value := range huge {
		put(t, cli, prefix+"web/"+id, value)
	}
	put(t, cli, prefix+"web/last", "h:2")
	untilStatuses(t, v, "good:passing last:passing")
	bad := v.State().Bad
	if len(bad) != len(huge) {
		t.Errorf("%d bad values, want %d", len(bad), len(huge))
	}
	for key, err := range bad {
		if text := err.Error(); len(text) > 1000 || strings.ContainsRune(text, '\x1b') {
			t.Errorf("what is said of %q has %d bytes: %.100q…", key, len(text), text)
		}
	}
	if text := log.text(); len(text) > 5000 || !strings.Contains(text, "not an instance") {
		t.Errorf("the log has %d bytes, want a line for each: %.200q…", len(text), text)
	}
	// A change of the largest value of all costs a view a moment, not half a second.
	many := `{"Addr":"h:1","Metadata":{` + strings.Repeat(`"k":"v",`, 90_000) + `"x":"y"}}`
	least := time.Hour
	for n := range 5 {
		put(t, cli, prefix+"web/many", many+strings.Repeat(" ", n))
		began := time.Now()
		put(t, cli, prefix+"web/last", fmt.Sprint("h:", 10+n))
		untilAddr(t, v, fmt.Sprint("h:", 10+n))
		least = min(least, time.Since(began))
	}
	t.Logf("the change after it is there in %v", least)
	if least > 100*time.Millisecond {
		t.Errorf("the change after one of a huge value is there after %v, want within 100 ms", least)
	}
}

func untilAddr(t *testing.T, v *discovery.View, addr string) {
	t.Helper()
	for ctx := bounded(t); ; {
		changed := v.Changed()
		if slices.ContainsFunc(v.Instances(), func(i *discovery.Instance) bool { return i.Addr == addr }) {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("%s is not listed", addr)
		}
	}
}

func TestManyBadValuesAreLoggedInAFewLines(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	var ops []clientv3.Op
	for n := range 100 {
		ops = append(ops, clientv3.OpPut(fmt.Sprintf("%sweb/%03d", prefix, n), "{"))
	}
	if _, err := cli.Txn(bounded(t)).Then(ops...).Commit(); err != nil {
		t.Fatal(err)
	}
	log := new(logged)
	v, err := discovery.Open(bounded(t), cli, "web", &discovery.Options{Prefix: prefix, Logger: log.logger()})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if got := len(v.State().Bad); got != 100 {
		t.Errorf("%d bad values in the state, want 100", got)
	}
	if text := log.text(); strings.Count(text, "\n") > 15 || !strings.Contains(text, "values=90") {
		t.Errorf("want 10 lines and the number of the rest, got\n%s", text)
	}
}

func TestWithOnlyServingPickReturnsNoneWhenAllAreInMaintenance(t *testing.T) {
	const maintenance = `{"Op":0,"Addr":"h:1","Metadata":{"weight":1,"status":"maintenance"}}`
	usual, _, _ := view(t, discovery.Options{}, map[string]string{"a": maintenance})
	if i, err := usual.Pick(); err != nil || i.ID != "a" {
		t.Errorf("Pick by default: got %v, %v, want the only one", i, err)
	}
	for _, policy := range []discovery.Policy{discovery.Weighted, discovery.RoundRobin, discovery.LeastPending} {
		v, cli, prefix := view(t, discovery.Options{OnlyServing: true, Policy: policy, Zone: "here"}, map[string]string{"a": maintenance})
		for what, pick := range map[string]func() (*discovery.Instance, error){
			"Pick": v.Pick, "PickFor": func() (*discovery.Instance, error) { return v.PickFor("key") },
		} {
			if i, err := pick(); !errors.Is(err, discovery.ErrNone) || !strings.Contains(err.Error(), "maintenance") {
				t.Errorf("%s with OnlyServing: got %v, %v, want ErrNone, because of its status", what, i, err)
			}
		}
		put(t, cli, prefix+"web/b", "h:2")
		untilStatuses(t, v, "a:maintenance b:passing")
		if got := count(t, 10, v.Pick, id); got["b"] != 10 {
			t.Errorf("picks %v, want b only", got)
		}
	}
}

func TestServicesAreListedWithTheirInstances(t *testing.T) {
	shared, prefix := etcdtest.New(t)
	sent := countedClient(t, shared.Endpoints()[0])
	cli := sent.Client
	const many = 10_100 // more than one page
	for n := 0; n < many; {
		var ops []clientv3.Op
		for ; n < many && len(ops) < 128; n++ {
			ops = append(ops, clientv3.OpPut(fmt.Sprintf("%sweb/%05d", prefix, n), "h:1"))
		}
		if _, err := cli.Txn(bounded(t)).Then(ops...).Commit(); err != nil {
			t.Fatal(err)
		}
	}
	for _, key := range []string{"web-2/a", "api/x", "api/y", "not-a-service", "deep/er/a", "\x1b[2J/a", "empty/"} {
		put(t, cli, prefix+key, "h:1")
	}
	sent.calls.Store(0)
	got, err := discovery.Services(bounded(t), cli, &discovery.Options{Prefix: prefix})
	if n := sent.calls.Load(); n != 2 {
		t.Errorf("Services: %d requests for two pages", n)
	}
	want := []discovery.Service{{Name: "api", Instances: 2}, {Name: "web", Instances: many}, {Name: "web-2", Instances: 1}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("Services: got %v, %v, want %v", got, err, want)
	}
	if _, err := discovery.Services(bounded(t), cli, &discovery.Options{Prefix: "no-slash"}); !errors.Is(err, registry.ErrInvalid) {
		t.Errorf("Services below a bad prefix: got %v, want ErrInvalid", err)
	}
	none, err := discovery.Services(bounded(t), cli, &discovery.Options{Prefix: prefix + "none/"})
	if err != nil || len(none) != 0 {
		t.Errorf("Services where there are none: got %v, %v", none, err)
	}
	put(t, cli, prefix+"few/web/a", "h:1")
	sent.calls.Store(0)
	few, err := discovery.Services(bounded(t), cli, &discovery.Options{Prefix: prefix + "few/"})
	if n := sent.calls.Load(); err != nil || len(few) != 1 || n != 1 {
		t.Errorf("Services where there are few: got %v, %v with %d requests, want one", few, err, n)
	}
}

// text is all that the view has logged.
func (l *logged) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

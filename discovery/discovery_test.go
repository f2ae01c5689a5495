package discovery_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"

	"github.com/etcdkit/etcdkit/discovery"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/internal/means"
	"github.com/etcdkit/etcdkit/registry"
)

func TestMain(m *testing.M) {
	if os.Getenv(manyEnv) != "" {
		os.Exit(runMany())
	}
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

func open(t testing.TB, cli *clientv3.Client, prefix string) *discovery.View {
	t.Helper()
	v, err := discovery.Open(bounded(t), cli, "web", &discovery.Options{Prefix: prefix})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.Close() })
	return v
}

func put(t testing.TB, cli *clientv3.Client, key, value string) {
	t.Helper()
	if _, err := cli.Put(bounded(t), key, value); err != nil {
		t.Fatal(err)
	}
}

// putAfterOutage puts until etcd takes it: one that is proposed while a leader is being elected is
// dropped, and times out after 7 s.
func putAfterOutage(t testing.TB, cli *clientv3.Client, key, value string) {
	t.Helper()
	for ctx := bounded(t); ; {
		_, err := cli.Put(ctx, key, value)
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
	}
}

func ids(all []*discovery.Instance) string {
	var s []string
	for _, i := range all {
		s = append(s, i.ID)
	}
	return strings.Join(s, " ")
}

// until waits until the view's list is as wanted.
func until(t testing.TB, v *discovery.View, want string) {
	t.Helper()
	ctx := bounded(t)
	for {
		changed := v.Changed()
		if ids(v.Instances()) == want {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("list %q, want %q; state %+v", ids(v.Instances()), want, v.State())
		}
	}
}

func TestAViewFollowsRegistrations(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	v := open(t, cli, prefix)
	if got := v.Instances(); got == nil || len(got) != 0 {
		t.Errorf("no instance registered: got %v, want an empty list", got)
	}
	r, err := registry.New(cli, &registry.Options{Prefix: prefix})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	regs, err := r.Register(bounded(t),
		registry.Instance{Service: "web", ID: "b", Addr: "h:2"},
		registry.Instance{Service: "web", ID: "a", Addr: "h:1"},
		registry.Instance{Service: "other", ID: "c", Addr: "h:3"})
	if err != nil {
		t.Fatal(err)
	}
	until(t, v, "a b")
	list, err := discovery.List(bounded(t), cli, "web", &discovery.Options{Prefix: prefix})
	if err != nil || ids(list) != "a b" {
		t.Fatalf("List: %v, %v", list, err)
	}
	for n, i := range v.Instances() {
		if list[n].Created != i.Created || i.Created == 0 {
			t.Errorf("%s was created at revision %d by List, and %d by the View", i, list[n].Created, i.Created)
		}
	}
	if err := regs[0].Close(); err != nil {
		t.Fatal(err)
	}
	until(t, v, "a")
	if s := v.State(); !s.Fresh || s.Revision == 0 || s.Cause != nil {
		t.Errorf("state %+v, want fresh", s)
	}
}

func TestAValueThatIsNoInstanceCostsThatEntryOnly(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	put(t, cli, prefix+"web/a", "h:1")
	put(t, cli, prefix+"web/b", `{"Addr":`)
	v := open(t, cli, prefix)
	put(t, cli, prefix+"web/c", "value-2379")
	until(t, v, "a c")
	bad := v.State().Bad
	if len(bad) != 1 || !errors.Is(bad[prefix+"web/b"], registry.ErrValue) {
		t.Errorf("bad entries: %v, want b's", bad)
	}
	put(t, cli, prefix+"web/b", "h:2")
	until(t, v, "a b c")
	if bad := v.State().Bad; len(bad) != 0 {
		t.Errorf("bad entries after the value was mended: %v", bad)
	}
}

func TestTheLastGoodListOutlivesEtcdAndIsToldAsStale(t *testing.T) {
	t.Parallel()
	c := etcdtest.NewCluster(t, nil)
	cli := etcdtest.Client(t, c)
	put(t, cli, "/services/web/a", "h:1")
	v, err := discovery.Open(bounded(t), cli, "web", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	for _, name := range c.Names() {
		if _, err := c.Pause(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	ctx := bounded(t)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for v.State().Fresh {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("without etcd the list stays fresh")
		}
	}
	if s := v.State(); ids(v.Instances()) != "a" || s.Cause == nil || s.Since.IsZero() {
		t.Errorf("list %q, state %+v; want the last good one, stale, with a cause", ids(v.Instances()), s)
	}
	for _, name := range c.Names() {
		if _, err := c.Resume(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	putAfterOutage(t, cli, "/services/web/b", "h:2")
	until(t, v, "a b")
}

func TestWatchYieldsCompleteListsAndOneFinalError(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	ctx, cancel := context.WithCancel(bounded(t))
	defer cancel()
	var lists []string
	var last error
	for list, err := range discovery.Watch(ctx, cli, "web", &discovery.Options{Prefix: prefix}) {
		if err != nil {
			last = err
			continue
		}
		lists = append(lists, ids(list))
		switch len(lists) {
		case 1:
			put(t, cli, prefix+"web/a", "h:1")
		case 2:
			cancel()
		}
	}
	if !slices.Equal(lists, []string{"", "a"}) || !errors.Is(last, context.Canceled) {
		t.Errorf("got %q, then %v; want the empty list, a, and the cancellation", lists, last)
	}
	for range discovery.Watch(bounded(t), cli, "web", &discovery.Options{Prefix: prefix}) {
		break // leaves nothing behind: TestMain looks
	}
}

func TestPickSharesByWeightAndSkipsInstancesThatTakeNoRequests(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	v := open(t, cli, prefix)
	if i, err := v.Pick(); i != nil || !errors.Is(err, discovery.ErrNone) {
		t.Errorf("no instance registered: got %v, %v, want ErrNone", i, err)
	}
	weights := map[string]int{"a": 1, "b": 2, "c": 5}
	for id, w := range weights {
		put(t, cli, prefix+"web/"+id, fmt.Sprintf(`{"Addr":"h:1","Metadata":{"weight":%d}}`, w))
	}
	put(t, cli, prefix+"web/d", `{"Addr":"h:1","Metadata":{"status":"draining","weight":100}}`)
	until(t, v, "a b c d")
	got := make(map[string]int)
	const rounds = 1000
	for range 8 * rounds {
		i, err := v.Pick()
		if err != nil {
			t.Fatal(err)
		}
		got[i.ID]++
	}
	for id, w := range weights {
		if share := float64(got[id]) / rounds; share < float64(w)*0.98 || share > float64(w)*1.02 {
			t.Errorf("%s was picked %d times of %d, want %d in 8", id, got[id], 8*rounds, w)
		}
	}
	if got["d"] != 0 {
		t.Errorf("a draining instance was picked %d times", got["d"])
	}
	for id := range weights {
		if _, err := cli.Delete(bounded(t), prefix+"web/"+id); err != nil {
			t.Fatal(err)
		}
	}
	until(t, v, "d")
	if i, err := v.Pick(); err != nil || i.ID != "d" {
		t.Errorf("only a draining one is left: got %v, %v, want it", i, err)
	}
}

func TestBadNamesAreRefusedBeforeAnythingIsSent(t *testing.T) {
	cli, _ := etcdtest.New(t)
	for _, service := range []string{"", "a/b", "..", "a\x00"} {
		if v, err := discovery.Open(bounded(t), cli, service, nil); v != nil || !errors.Is(err, registry.ErrInvalid) {
			t.Errorf("open %q: got %v, %v, want ErrInvalid", service, v, err)
		}
		if l, err := discovery.List(bounded(t), cli, service, nil); l != nil || !errors.Is(err, registry.ErrInvalid) {
			t.Errorf("list %q: got %v, %v, want ErrInvalid", service, l, err)
		}
	}
}

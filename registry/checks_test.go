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

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/health"
	"github.com/etcdkit/etcdkit/registry"
)

// patient is a check that says what the test sets, with another output each time.
type patient struct {
	err    atomic.Pointer[error]
	probes atomic.Int64
}

func (p *patient) is(err error) { p.err.Store(&err) }

func (p *patient) check() health.Check {
	return health.Check{Name: "patient", Interval: 20 * time.Millisecond, Timeout: within, Probe: func(context.Context, string) (string, error) {
		n := p.probes.Add(1)
		if err := p.err.Load(); err != nil && *err != nil {
			return "", fmt.Errorf("%w for the %dth time", *err, n)
		}
		return fmt.Sprint("fine for the ", n, "th time"), nil
	}}
}

// probed waits until there were n probes more.
func (p *patient) probed(t *testing.T, n int64) {
	t.Helper()
	limit := bounded(t)
	for until := p.probes.Load() + n; p.probes.Load() < until; {
		select {
		case <-time.After(time.Millisecond):
		case <-limit.Done():
			t.Fatal("no probes")
		}
	}
}

var errIll = errors.New("ill")

// record is what stands under a key.
func record(t *testing.T, cli *clientv3.Client, prefix, key string) (i registry.Instance, version int64) {
	t.Helper()
	kvs := get(t, cli, prefix+key).Kvs
	if len(kvs) != 1 {
		t.Fatalf("%s: got %v, want a record", key, kvs)
	}
	i, err := registry.Decode(prefix, prefix+key, string(kvs[0].Value))
	if err != nil {
		t.Fatal(err)
	}
	return i, kvs[0].Version
}

// becomes waits until the record of web/a is in a status.
func becomes(t *testing.T, cli *clientv3.Client, prefix string, status registry.Status) registry.Instance {
	t.Helper()
	changed := get(t, cli, prefix+"web/a")
	i, _ := record(t, cli, prefix, "web/a")
	if i.Status == status {
		return i
	}
	eventually(t, cli, prefix+"web/a", changed.Header.Revision, func(ev *clientv3.Event) bool {
		i, _ = registry.Decode(prefix, prefix+"web/a", string(ev.Kv.Value))
		return i.Status == status
	})
	return i
}

func TestARecordIsWrittenWhenAStatusChanges(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	var p patient
	reg := register(t, cli, web("a"), &registry.Options{Prefix: prefix, Checks: []health.Check{p.check()}})
	first := reg.State().Revision
	expect := func(status registry.Status, version int64) {
		t.Helper()
		becomes(t, cli, prefix, status)
		p.probed(t, 20)
		i, got := record(t, cli, prefix, "web/a")
		if i.Status != status || got != version {
			t.Errorf("after 20 probes: %s, version %d, want %s, version %d", i.Status, got, status, version)
		}
		if s := reg.State(); s.Status != status || !strings.HasSuffix(s.Checks[0].Output, "th time") || s.Checks[0].Output == i.Checks[0].Output {
			t.Errorf("state %+v, record %+v: want %s, and what was said last", s, i, status)
		}
	}
	expect(registry.Passing, 1)
	p.is(errIll)
	expect(registry.Critical, 3) // by way of warning
	p.is(health.ErrWarning)
	expect(registry.Warning, 4)
	changed := reg.Changed()
	p.is(nil)
	<-changed
	expect(registry.Passing, 5)
	var seen []registry.Status
	eventually(t, cli, prefix+"web/a", first-1, func(ev *clientv3.Event) bool {
		i, _ := registry.Decode(prefix, prefix+"web/a", string(ev.Kv.Value))
		seen = append(seen, i.Status)
		return len(seen) == 5
	})
	if want := []registry.Status{"passing", "warning", "critical", "warning", "passing"}; !slices.Equal(seen, want) {
		t.Errorf("written: %v, want %v", seen, want)
	}
}

func TestWhatTheChecksFoundDoesNotBecomeAPartOfWhatIsWanted(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	var p patient
	p.is(errIll)
	reg := register(t, cli, web("a"), &registry.Options{Prefix: prefix, Checks: []health.Check{p.check()}})
	if err := reg.Update(bounded(t), func(i *registry.Instance) {
		if i.Status != registry.Passing || i.Reason != "" || i.Checks != nil {
			t.Errorf("given %+v, want what was asked for", i)
		}
		i.Weight = 7
		i.Checks = []health.Result{{Name: "made up", Status: health.Passing}}
	}); err != nil {
		t.Fatal(err)
	}
	if i, _ := record(t, cli, prefix, "web/a"); i.Weight != 7 || i.Status != registry.Critical || len(i.Checks) != 1 || i.Checks[0].Name != "patient" {
		t.Errorf("got %+v, want the new weight, and still critical", i)
	}
	if i := reg.Instance(); i.Status != registry.Passing || i.Weight != 7 || i.Checks != nil {
		t.Errorf("got %+v, want what was asked for", i)
	}
	p.is(nil)
	if i := becomes(t, cli, prefix, registry.Passing); i.Weight != 7 || i.Reason != "" {
		t.Errorf("got %+v", i)
	}
}

func TestTheWorseOfTheWantedStatusAndTheChecksIsShown(t *testing.T) {
	ill, doubtful := errIll, health.ErrWarning
	for _, tc := range []struct {
		asked  registry.Status
		err    error
		want   registry.Status
		reason string
	}{
		{registry.Passing, nil, registry.Passing, "wanted"},
		{registry.Passing, doubtful, registry.Warning, "patient: "},
		{registry.Passing, ill, registry.Critical, "patient: "},
		{registry.Warning, nil, registry.Warning, "wanted"},
		{registry.Warning, doubtful, registry.Warning, "wanted"},
		{registry.Warning, ill, registry.Critical, "patient: "},
		{registry.Critical, nil, registry.Critical, "wanted"},
		{registry.Critical, doubtful, registry.Critical, "wanted"},
		{registry.Draining, ill, registry.Draining, "wanted"},
		{registry.Maintenance, ill, registry.Maintenance, "wanted"},
	} {
		cli, prefix := etcdtest.New(t)
		var p patient
		p.is(tc.err)
		i := web("a")
		i.Status, i.Reason = tc.asked, "wanted"
		fine := health.Func("fine", func(context.Context) error { return nil })
		reg := register(t, cli, i, &registry.Options{Prefix: prefix, Checks: []health.Check{fine, p.check()}})
		got, _ := record(t, cli, prefix, "web/a")
		if got.Status != tc.want || !strings.HasPrefix(got.Reason, tc.reason) || len(got.Checks) != 2 {
			t.Errorf("asked for %s, check %v: got %+v, want %s because of %s", tc.asked, tc.err, got, tc.want, tc.reason)
		}
		if err := reg.Drain(bounded(t), "deploy"); err != nil {
			t.Fatal(err)
		}
		if got, _ := record(t, cli, prefix, "web/a"); got.Status != registry.Draining || got.Reason != "deploy" {
			t.Errorf("asked for %s, check %v: drained, got %+v", tc.asked, tc.err, got)
		}
		if err := reg.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestChecksEndBeforeDrainingIsSaid(t *testing.T) {
	for _, alone := range []bool{true, false} {
		cli, prefix := etcdtest.New(t)
		var probes atomic.Int64
		var said atomic.Pointer[registry.Status]
		running := make(chan struct{})
		c := health.Check{Name: "c", Interval: 10 * time.Millisecond, Timeout: within, Probe: func(ctx context.Context, _ string) (string, error) {
			if probes.Add(1) != 3 {
				return "", nil
			}
			close(running)
			<-ctx.Done()
			<-time.After(100 * time.Millisecond) // in which draining could be said
			i, _ := record(t, cli, prefix, "web/a")
			said.Store(&i.Status)
			return "", ctx.Err()
		}}
		opts := &registry.Options{Prefix: prefix, Checks: []health.Check{c}}
		var reg *registry.Registration
		if alone {
			reg = register(t, cli, web("a"), opts)
		} else {
			r, err := registry.New(cli, opts)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			all, err := r.Register(bounded(t), web("a"))
			if err != nil {
				t.Fatal(err)
			}
			reg = all[0]
		}
		<-running
		if err := reg.Close(); err != nil {
			t.Error(err)
		}
		if s := said.Load(); s == nil || *s != registry.Passing {
			t.Errorf("alone %v: when its check was ended it had said %v, want passing", alone, s)
		}
		if err := reg.Update(bounded(t), func(*registry.Instance) {}); !errors.Is(err, registry.ErrClosed) {
			t.Errorf("update after Close: %v", err)
		}
		<-time.After(10 * c.Interval) // in which ten more would run
		if n := probes.Load(); n != 3 {
			t.Errorf("alone %v: %d probes after Close", alone, n-3)
		}
	}
}

func TestAStuckCheckDoesNotHoldCloseUp(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	release := make(chan struct{})
	defer close(release)
	var probes atomic.Int64
	c := health.Func("stuck", func(context.Context) error {
		if probes.Add(1) > 1 {
			<-release
		}
		return nil
	})
	c.Interval, c.Timeout = 10*time.Millisecond, 10*time.Millisecond
	r, err := registry.New(cli, &registry.Options{Prefix: prefix, Checks: []health.Check{c}})
	if err != nil {
		t.Fatal(err)
	}
	const n = 20 // each of them stuck, or about to be
	var all []registry.Instance
	for i := range n {
		all = append(all, web(fmt.Sprint(i)))
	}
	if _, err := r.Register(bounded(t), all...); err != nil {
		t.Fatal(err)
	}
	eventually(t, cli, prefix+"web/7", 0, func(ev *clientv3.Event) bool { return strings.Contains(string(ev.Kv.Value), `"status":"critical"`) })
	begin := time.Now()
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("close took %v, want 1 s for the checks, and a moment", took)
	}
	if kvs := get(t, cli, prefix+"web/7").Kvs; len(kvs) != 0 {
		t.Errorf("after Close: %v, want nothing", kvs)
	}
}

func TestItComesBackAsItsChecksFoundIt(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	var p patient
	reg := register(t, cli, web("a"), &registry.Options{Prefix: prefix, Checks: []health.Check{p.check()}})
	p.is(errIll)
	becomes(t, cli, prefix, registry.Critical)
	before := reg.State()
	if _, err := cli.Revoke(t.Context(), before.Lease); err != nil {
		t.Fatal(err)
	}
	gone := eventually(t, cli, prefix+"web/a", before.Revision, func(ev *clientv3.Event) bool { return ev.Type == clientv3.EventTypeDelete })
	back := eventually(t, cli, prefix+"web/a", gone.Kv.ModRevision, isPut)
	i, err := registry.Decode(prefix, prefix+"web/a", string(back.Kv.Value))
	if err != nil || i.Status != registry.Critical || back.Kv.Version != 1 {
		t.Errorf("came back as %+v, %v, want it critical at once", i, err)
	}
	p.is(nil)
	becomes(t, cli, prefix, registry.Passing)
}

func TestEachInstanceOfARegistrarIsChecked(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	var mu sync.Mutex
	asked := make(map[string]int)
	c := health.Check{Name: "c", Interval: time.Hour, Probe: func(_ context.Context, addr string) (string, error) {
		mu.Lock()
		defer mu.Unlock()
		if asked[addr]++; addr == "h:77" {
			return "", errIll
		}
		return "", nil
	}}
	r, err := registry.New(cli, &registry.Options{Prefix: prefix, Checks: []health.Check{c}})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	const n = 600 // more than are begun with at once
	var all []registry.Instance
	for i := range n {
		instance := web(fmt.Sprint("i", i+1))
		instance.Addr = fmt.Sprint("h:", i+1)
		all = append(all, instance)
	}
	if _, err := r.Register(bounded(t), all...); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	if len(asked) != n {
		t.Errorf("%d instances were probed, want %d", len(asked), n)
	}
	mu.Unlock()
	resp, err := cli.Get(bounded(t), prefix, clientv3.WithPrefix())
	if err != nil || len(resp.Kvs) != n {
		t.Fatalf("got %v, %v", resp, err)
	}
	for _, kv := range resp.Kvs {
		i, err := registry.Decode(prefix, string(kv.Key), string(kv.Value))
		if err != nil || (i.Status == registry.Critical) != (i.ID == "i77") || kv.Version != 1 {
			t.Errorf("got %+v, %v, version %d", i, err, kv.Version)
		}
	}
}

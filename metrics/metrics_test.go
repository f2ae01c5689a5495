package metrics_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/discovery"
	"github.com/etcdkit/etcdkit/discovery/httptransport"
	"github.com/etcdkit/etcdkit/election"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/lease"
	"github.com/etcdkit/etcdkit/lock"
	"github.com/etcdkit/etcdkit/metrics"
	"github.com/etcdkit/etcdkit/mirror"
	"github.com/etcdkit/etcdkit/registry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(etcdtest.Main(m)) }

// within bounds what a test waits for, on a machine that does much else.
const within = 60 * time.Second

func bounded(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	t.Cleanup(cancel)
	return ctx
}

// everything is a Metrics of one handle of each kind, with something to tell.
func everything(t *testing.T) *metrics.Metrics {
	t.Helper()
	cli, prefix := etcdtest.New(t)
	m := metrics.New()
	k := lease.NewKeeper(cli, nil)
	t.Cleanup(func() { k.Close() })
	if _, err := k.Reserve(bounded(t), 3); err != nil {
		t.Fatal(err)
	}
	m.Keeper("main", k)
	r, err := registry.New(cli, &registry.Options{Prefix: prefix})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	server := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	addr := server.Listener.Addr().String()
	if _, err := r.Register(bounded(t),
		registry.Instance{Service: "web", ID: "a", Addr: addr},
		registry.Instance{Service: "web", ID: "b", Addr: addr, Status: registry.Draining}); err != nil {
		t.Fatal(err)
	}
	m.Registrar(r)
	if _, err := cli.Put(bounded(t), prefix+"web/bad", `{"Addr":`); err != nil {
		t.Fatal(err)
	}
	tr := httptransport.New(cli, &httptransport.Options{View: discovery.Options{Prefix: prefix}})
	t.Cleanup(func() { tr.Close() })
	m.HTTP("main", tr)
	resp, err := (&http.Client{Transport: tr}).Get("http://web/")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	v, err := tr.View(bounded(t), "web")
	if err != nil {
		t.Fatal(err)
	}
	i := v.Instances()[0]
	v.Report(i, io.ErrUnexpectedEOF)
	m.View(v)
	mi, err := mirror.Open(bounded(t), cli, prefix, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { mi.Close() })
	m.Mirror("config", mi)
	_, other := etcdtest.New(t)
	locks, elections := other+"lock", other+"election"
	mutex := lock.New(cli, locks, &lock.Options{Keeper: k})
	t.Cleanup(func() { mutex.Close() })
	m.Lock("nightly", mutex)
	for range 2 { // one that is deleted, and one that goes on
		h, err := mutex.Acquire(bounded(t))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := mutex.TryAcquire(bounded(t)); !errors.Is(err, lock.ErrTaken) {
			t.Error(err)
		}
		if mutex.Stats().HoldTime.Count == 0 {
			if _, err := cli.Delete(bounded(t), h.Key()); err != nil {
				t.Fatal(err)
			}
			if err := h.Release(bounded(t)); !errors.Is(err, lock.ErrLost) {
				t.Error(err)
			}
		}
	}
	waits, stop := context.WithCancel(t.Context())
	waited := make(chan error, 1)
	go func() { // ends with the test
		_, err := mutex.Acquire(waits)
		waited <- err
	}()
	t.Cleanup(func() { stop(); <-waited })
	for ctx := bounded(t); mutex.Stats().Waiting == 0 && ctx.Err() == nil; {
	}
	e := election.New(cli, elections, &election.Options{Keeper: k})
	t.Cleanup(func() { e.Close() })
	m.Election("scheduler", e)
	for range 2 {
		term, err := e.Campaign(bounded(t), "x")
		if err != nil {
			t.Fatal(err)
		}
		if e.Stats().TermTime.Count == 0 {
			if err := term.Resign(bounded(t)); err != nil {
				t.Fatal(err)
			}
		}
	}
	return m
}

func TestEachHandleIsShown(t *testing.T) {
	m := everything(t)
	for name, want := range map[string]string{
		"etcdkit_leases":                   `{keeper="main"} 1`,
		"etcdkit_lease_keys":               `{keeper="main"} 3`,
		"etcdkit_leases_granted_total":     `{keeper="main"} 1`,
		"etcdkit_registrations_lost_total": `{reason="deleted"} 0|{reason="lease"} 0|{reason="taken"} 0`,
		"etcdkit_registrations": `{registered="true",service="web",status="draining"} 1|` +
			`{registered="true",service="web",status="passing"} 1`,
		"etcdkit_instances": `{service="web",status="critical"} 0|{service="web",status="draining"} 1|` +
			`{service="web",status="expired"} 0|{service="web",status="maintenance"} 0|` +
			`{service="web",status="passing"} 1|{service="web",status="warning"} 0`,
		"etcdkit_view_stale_seconds":  `{service="web"} 0`,
		"etcdkit_view_bad_values":     `{service="web"} 1`,
		"etcdkit_view_picks_total":    `{service="web"} 1`,
		"etcdkit_view_failures_total": `{service="web"} 1`,
		"etcdkit_view_rereads_total": `{reason="behind",service="web"} 0|{reason="compacted",service="web"} 0|` +
			`{reason="diverged",service="web"} 0|{reason="other_cluster",service="web"} 0|{reason="regressed",service="web"} 0`,
		"etcdkit_http_requests_total":      `{transport="main"} 1`,
		"etcdkit_http_retries_total":       `{transport="main"} 0`,
		"etcdkit_mirror_keys":              `{mirror="config"} 3`,
		"etcdkit_mirror_stale_seconds":     `{mirror="config"} 0`,
		"etcdkit_locks_held":               `{lock="nightly"} 1`,
		"etcdkit_locks_waiting":            `{lock="nightly"} 1`,
		"etcdkit_lock_tries_refused_total": `{lock="nightly"} 2`,
		"etcdkit_lock_wait_seconds":        `{lock="nightly"} 2`,
		"etcdkit_lock_hold_seconds":        `{lock="nightly"} 1`,
		"etcdkit_locks_lost_total": `{lock="nightly",reason="closed"} 0|{lock="nightly",reason="deleted"} 1|` +
			`{lock="nightly",reason="expired"} 0|{lock="nightly",reason="revoked"} 0|` +
			`{lock="nightly",reason="unauthorised"} 0|{lock="nightly",reason="unreachable"} 0`,
		"etcdkit_elections_led":         `{election="scheduler"} 1`,
		"etcdkit_elections_waiting":     `{election="scheduler"} 0`,
		"etcdkit_election_wait_seconds": `{election="scheduler"} 2`,
		"etcdkit_election_term_seconds": `{election="scheduler"} 1`,
	} {
		if got := strings.Join(series(t, m, name), "|"); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
	got := series(t, m, "etcdkit_lease_remaining_seconds")
	var left float64
	if len(got) == 1 {
		if _, err := fmt.Sscanf(got[0], `{keeper="main"} %g`, &left); err != nil {
			t.Error(err)
		}
	}
	if left <= 0 || left > 10 {
		t.Errorf("remaining: %q, want up to the TTL of 10 s", got)
	}
}

func series(t *testing.T, m *metrics.Metrics, name string) []string {
	t.Helper()
	return scrape(t, m)[name]
}

// scrape are all samples by metric, much as Prometheus's text has them.
func scrape(t *testing.T, m *metrics.Metrics) map[string][]string {
	t.Helper()
	r := prometheus.NewPedanticRegistry() // which refuses what was not described
	if err := r.Register(m); err != nil {
		t.Error(err)
	}
	families, err := r.Gather()
	if err != nil {
		t.Error(err)
	}
	all := make(map[string][]string)
	for _, f := range families {
		for _, s := range f.GetMetric() {
			var labels []string
			for _, l := range s.GetLabel() {
				labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
			}
			value := s.GetGauge().GetValue() + s.GetCounter().GetValue() + float64(s.GetHistogram().GetSampleCount()) // it is one of the three
			all[f.GetName()] = append(all[f.GetName()], fmt.Sprintf("{%s} %g", strings.Join(labels, ","), value))
		}
	}
	return all
}

func TestWhatIsRemovedIsShownNoLonger(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	m := metrics.New()
	first, second := lease.NewKeeper(cli, nil), lease.NewKeeper(cli, nil)
	defer first.Close()
	defer second.Close()
	if _, err := second.Lease(bounded(t)); err != nil {
		t.Fatal(err)
	}
	removeFirst, removeSecond := m.Keeper("main", first), m.Keeper("main", second)
	want := func(name, want string) {
		t.Helper()
		if got := strings.Join(series(t, m, name), "|"); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	want("etcdkit_leases", `{keeper="main"} 1`) // the second's
	removeFirst()
	want("etcdkit_leases", `{keeper="main"} 1`)
	removeSecond()
	removeSecond()
	want("etcdkit_leases", "")

	// What a registrar has lost stays in the sum: a counter does not go back.
	reg, err := registry.Register(bounded(t), cli, registry.Instance{Service: "web", ID: "a", Addr: "h:1"}, &registry.Options{Prefix: prefix})
	if err != nil {
		t.Fatal(err)
	}
	defer reg.Close()
	remove := m.Registration(reg)
	if _, err := cli.Delete(bounded(t), prefix+"web/a"); err != nil {
		t.Fatal(err)
	}
	for ctx := bounded(t); reg.State().Losses == 0; {
		select {
		case <-reg.Changed():
		case <-ctx.Done():
			t.Fatal("the key was deleted, and the metrics do not show it")
		}
	}
	const lost = `{reason="deleted"} 1|{reason="lease"} 0|{reason="taken"} 0`
	want("etcdkit_registrations_lost_total", lost)
	remove()
	remove()
	want("etcdkit_registrations_lost_total", lost)
	want("etcdkit_registrations", "")
	defer m.Registration(reg)() // its losses count once
	want("etcdkit_registrations_lost_total", lost)
}

func TestAScrapeWithoutEtcdTellsHowOldThingsAre(t *testing.T) {
	c := etcdtest.NewCluster(t, &cluster.Options{Members: 1})
	cli := etcdtest.Client(t, c)
	m := metrics.New()
	k := lease.NewKeeper(cli, &lease.Options{TTL: 2 * time.Second})
	defer k.Close()
	reg, err := registry.Register(bounded(t), cli, registry.Instance{Service: "web", ID: "a", Addr: "h:1"}, &registry.Options{Keeper: k})
	if err != nil {
		t.Fatal(err)
	}
	v, err := discovery.Open(bounded(t), cli, "web", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	m.Keeper("main", k)
	m.Registration(reg)
	m.View(v)
	if _, err := c.Pause(bounded(t), "etcd1"); err != nil {
		t.Fatal(err)
	}
	for ctx := bounded(t); v.State().Fresh || reg.State().Registered; {
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			t.Fatal("etcd is away, and the metrics do not show it")
		}
	}
	began := time.Now()
	for name, want := range map[string]string{
		"etcdkit_instances":          `{service="web",status="passing"} 1`,
		"etcdkit_registrations":      `{registered="false",service="web",status="passing"} 1`,
		"etcdkit_leases":             `{keeper="main"} 0`,
		"etcdkit_leases_ended_total": `{keeper="main",reason="unreachable"} 1`,
	} {
		if got := strings.Join(series(t, m, name), "|"); !strings.Contains(got, want) {
			t.Errorf("%s: got %s, want %s in it", name, got, want)
		}
	}
	var stale float64
	if got := series(t, m, "etcdkit_view_stale_seconds"); len(got) == 1 {
		if _, err := fmt.Sscanf(got[0], `{service="web"} %g`, &stale); err != nil {
			t.Error(err)
		}
	}
	if stale < 1 {
		t.Errorf("stale for %g s, want it told", stale)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("five scrapes took %v", took)
	}
	if _, err := c.Resume(bounded(t), "etcd1"); err != nil {
		t.Fatal(err)
	}
	for ctx := bounded(t); !reg.State().Registered; { // until it is known that etcd is back, Close gives up at once
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			t.Fatal("etcd is back, and the metrics do not show it")
		}
	}
	if err := reg.Close(); err != nil {
		t.Error(err)
	}
}

func TestHandlesMayComeAndGoDuringScrapes(t *testing.T) {
	m := everything(t)
	cli, _ := etcdtest.New(t)
	k := lease.NewKeeper(cli, nil)
	defer k.Close()
	var all sync.WaitGroup
	for n := range 4 {
		all.Go(func() {
			for range 100 {
				m.Keeper(fmt.Sprint(n), k)()
			}
		})
		all.Go(func() {
			for range 20 {
				if len(scrape(t, m)) == 0 {
					t.Error("an empty scrape")
				}
			}
		})
	}
	all.Wait()
}

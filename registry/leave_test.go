package registry_test

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/health"
	"github.com/etcdkit/etcdkit/internal/means"
	"github.com/etcdkit/etcdkit/registry"
)

var errUnfinished = errors.New("one request was cut")

// seen is what a consumer sees happen to a key, and when.
type seen struct {
	what string // an instance's status, its raw value, or deleted
	at   time.Time
}

// consumer watches a service, as a consumer does. history is what it saw of an instance.
func consumer(t *testing.T, cli *clientv3.Client, prefix string) (history func(id string) []seen) {
	t.Helper()
	type event struct {
		id string
		seen
	}
	events := make(chan event, 100)
	ctx, cancel := context.WithCancel(bounded(t))
	t.Cleanup(cancel)
	watch := cli.Watch(ctx, prefix, clientv3.WithPrefix(), clientv3.WithCreatedNotify())
	<-watch
	go func() { // ends with the test
		defer close(events)
		for resp := range watch {
			for _, ev := range resp.Events {
				what := "deleted"
				if isPut(ev) {
					i, err := registry.Decode(prefix, string(ev.Kv.Key), string(ev.Kv.Value))
					if what = string(i.Status); err != nil || i.Raw != "" {
						what = string(ev.Kv.Value)
					}
				}
				events <- event{strings.TrimPrefix(string(ev.Kv.Key), prefix+"web/"), seen{what, time.Now()}}
			}
		}
	}()
	all := make(map[string][]seen)
	return func(id string) []seen {
		for {
			select {
			case e, ok := <-events:
				if !ok {
					return all[id]
				}
				all[e.id] = append(all[e.id], e.seen)
			case <-time.After(200 * time.Millisecond): // nothing more is on its way
				return all[id]
			}
		}
	}
}

func words(history []seen) (all []string) {
	for _, s := range history {
		all = append(all, s.what)
	}
	return all
}

func TestConsumersLeaveBeforeTheRequestsAreFinished(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	history := consumer(t, cli, prefix)
	const notice = 300 * time.Millisecond
	reg := register(t, cli, web("a"), &registry.Options{Prefix: prefix, LeaveNotice: notice})
	var finishing time.Time
	err := reg.Leave(bounded(t), func(ctx context.Context) error {
		finishing = time.Now()
		if i, _ := record(t, cli, prefix, "web/a"); i.Status != registry.Draining || i.Reason != "leaving" {
			t.Errorf("while requests are finished it is %s, %q, want draining, leaving", i.Status, i.Reason)
		}
		return ctx.Err()
	})
	if err != nil {
		t.Error(err)
	}
	got := history("a")
	if want := []string{"passing", "draining", "deleted"}; !slices.Equal(words(got), want) {
		t.Fatalf("consumers saw %v, want %v", words(got), want)
	}
	if early := finishing.Sub(got[1].at); early < notice-50*time.Millisecond {
		t.Errorf("requests were finished %v after consumers saw it, want %v", early, notice)
	}
	if got[2].at.Before(finishing) {
		t.Error("the key went before requests were finished")
	}
}

func TestARegistrarLeavesWithAllItsInstancesAndOneNotice(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	history := consumer(t, cli, prefix)
	const notice = 500 * time.Millisecond
	r, err := registry.New(cli, &registry.Options{Prefix: prefix, LeaveNotice: notice})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	old := web("old")
	old.Status, old.Reason = registry.Draining, "deploy"
	if _, err := r.Register(bounded(t), web("a"), web("b"), old, registry.Instance{Service: "web", ID: "raw", Raw: "value-2379"}); err != nil {
		t.Fatal(err)
	}
	finished := 0
	began := time.Now()
	err = r.Leave(bounded(t), func(context.Context) error {
		finished++
		for id, want := range map[string]int{"a": 1, "b": 1, "old": 1, "raw": 0} {
			if n := len(get(t, cli, prefix+"web/"+id).Kvs); n != want {
				t.Errorf("%s: %d keys while requests are finished, want %d", id, n, want)
			}
		}
		return errUnfinished
	})
	if took := time.Since(began); took < notice || took > 4*notice && !means.Race {
		t.Errorf("leaving took %v, want one notice of %v", took, notice)
	}
	if !errors.Is(err, errUnfinished) || finished != 1 {
		t.Errorf("%v after %d calls of finish, want its error, and one call", err, finished)
	}
	for id, want := range map[string][]string{
		"a": {"passing", "draining", "deleted"}, "b": {"passing", "draining", "deleted"},
		"old": {"draining", "deleted"}, "raw": {"value-2379", "deleted"}, // there is no room for draining
	} {
		if got := words(history(id)); !slices.Equal(got, want) {
			t.Errorf("of %s consumers saw %v, want %v", id, got, want)
		}
	}
	if _, err := r.Register(bounded(t), web("c")); !errors.Is(err, registry.ErrClosed) {
		t.Errorf("Register after Leave: %v, want ErrClosed", err)
	}
}

func TestTheEndOfItsContextHastensLeave(t *testing.T) {
	t.Parallel()
	for name, finish := range map[string]func(context.Context) error{
		"in the notice":     nil,
		"during the finish": func(ctx context.Context) error { <-ctx.Done(); return errUnfinished },
	} {
		t.Run(name, func(t *testing.T) {
			cli, prefix := etcdtest.New(t)
			opts := &registry.Options{Prefix: prefix, LeaveNotice: time.Hour}
			if finish != nil {
				opts.LeaveNotice = -1
			}
			reg := register(t, cli, web("a"), opts)
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			began := time.Now()
			err := reg.Leave(ctx, finish)
			if took := time.Since(began); took > 3*time.Second {
				t.Errorf("it took %v, want 0.5 s", took)
			}
			if finish != nil && !errors.Is(err, errUnfinished) || finish == nil && err != nil {
				t.Errorf("got %v, want finish's error", err)
			}
			if kvs := get(t, cli, prefix+"web/a").Kvs; len(kvs) != 0 {
				t.Errorf("got %v, want the key gone", kvs)
			}
		})
	}
}

// finish returns just before its context ends, and withdrawing takes longer than what is left.
func TestLeaveWithdrawsThoughFinishTookAllItsTime(t *testing.T) {
	t.Parallel()
	server, prefix := etcdtest.New(t)
	cli, all := tried(t, server)
	reg := register(t, cli, web("a"), &registry.Options{Prefix: prefix, LeaveNotice: -1})
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	err := reg.Leave(ctx, func(context.Context) error {
		all.is(func(_ context.Context, _ int, _ *pb.TxnRequest, do func() error) error {
			<-ctx.Done()
			time.Sleep(20 * time.Millisecond)
			return do()
		})
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if kvs := get(t, server, prefix+"web/a").Kvs; len(kvs) != 0 {
		t.Errorf("got %v, want the key gone", kvs)
	}
}

// etcd gets no more time than leaves enough for finishing requests.
func TestLeaveFinishesRequestsThoughEtcdIsAway(t *testing.T) {
	t.Parallel()
	c := etcdtest.NewCluster(t, &cluster.Options{Members: 1})
	reg := register(t, etcdtest.Client(t, c), web("a"), &registry.Options{TTL: time.Minute, LeaveNotice: 100 * time.Millisecond})
	if _, err := c.Pause(t.Context(), "etcd1"); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 12*time.Second)
	defer cancel()
	var finishing time.Duration
	err := reg.Leave(ctx, func(ctx context.Context) error {
		finishing = time.Since(began)
		return errors.Join(errUnfinished, ctx.Err())
	})
	if finishing < 5*time.Second || finishing > 8*time.Second {
		t.Errorf("finish was called after %v, want 5.1 s", finishing)
	}
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("Leave took %v, want the 12 s of its context", took)
	}
	for _, want := range []error{errUnfinished, context.DeadlineExceeded} {
		if !errors.Is(err, want) {
			t.Errorf("%v, want %v in it", err, want)
		}
	}
	for _, want := range []string{`set the status draining of "/services/web/a"`, `withdraw "/services/web/a"`, "in etcd it stays until"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q in it", err, want)
		}
	}
	if _, err := c.Resume(t.Context(), "etcd1"); err != nil {
		t.Fatal(err)
	}
}

func TestOnlyTheFirstOfSeveralLeavesFinishes(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	reg := register(t, cli, web("a"), &registry.Options{Prefix: prefix, LeaveNotice: -1})
	var finished atomic.Int32
	begun, end := make(chan struct{}), make(chan struct{})
	first := make(chan error, 1)
	go func() { // ends with end
		first <- reg.Leave(context.WithoutCancel(t.Context()), func(context.Context) error {
			finished.Add(1)
			close(begun)
			<-end
			return errUnfinished
		})
	}()
	<-begun
	finish := func(context.Context) error { finished.Add(1); return nil }
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := reg.Leave(short, finish); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "another call") {
		t.Errorf("while the first one runs: %v, want its context's end", err)
	}
	close(end)
	if err := <-first; !errors.Is(err, errUnfinished) {
		t.Errorf("the first one: %v", err)
	}
	if err := reg.Leave(bounded(t), finish); !errors.Is(err, errUnfinished) {
		t.Errorf("after it: %v, want the same", err)
	}
	if n := finished.Load(); n != 1 {
		t.Errorf("%d calls of finish, want one", n)
	}
	if err := reg.Close(); err != nil {
		t.Error(err)
	}
}

func TestLeaveAfterCloseOnlyFinishes(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	reg := register(t, cli, web("a"), &registry.Options{Prefix: prefix, LeaveNotice: time.Hour})
	if err := reg.Close(); err != nil {
		t.Fatal(err)
	}
	finished := false
	if err := reg.Leave(bounded(t), func(context.Context) error { finished = true; return nil }); err != nil || !finished {
		t.Errorf("%v, finish called: %v; want nil, and the call", err, finished)
	}
}

// silentAt is a check whose probe of one address does not return before its context ends.
func silentAt(addr string, probed chan<- struct{}) health.Check {
	return health.Check{Name: "c", Timeout: time.Hour, Probe: func(ctx context.Context, at string) (string, error) {
		if at == addr {
			probed <- struct{}{}
			<-ctx.Done()
		}
		return "", ctx.Err()
	}}
}

func TestLeaveDoesNotOutlastItsContextForAnUpdateThatIsUnderWay(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	probed := make(chan struct{}, 100)
	reg := register(t, cli, web("a"), &registry.Options{Prefix: prefix, LeaveNotice: -1, Checks: []health.Check{silentAt("new:1", probed)}})
	updated := make(chan error, 1)
	go func() { // ends with Leave
		updated <- reg.Update(bounded(t), func(i *registry.Instance) { i.Addr = "new:1" })
	}()
	<-probed
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if err := reg.Update(ctx, func(*registry.Instance) {}); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "another update") {
		t.Errorf("another Update meanwhile: %v, want its deadline, and what it waited for", err)
	}
	began := time.Now()
	var finishing time.Duration
	err := reg.Leave(ctx, func(context.Context) error { finishing = time.Since(began); return nil })
	if finishing == 0 || finishing > 2*time.Second {
		t.Errorf("finish was called after %v, want at once", finishing)
	}
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "set the status draining of") {
		t.Errorf("got %v, want that draining was not said", err)
	}
	if err := <-updated; !errors.Is(err, registry.ErrClosed) {
		t.Errorf("the update: %v, want ErrClosed", err)
	}
	if kvs := get(t, cli, prefix+"web/a").Kvs; len(kvs) != 0 {
		t.Errorf("got %v, want the key gone", kvs)
	}
}

func TestRawInstancesLeaveTogetherThoughTheirChecksAreStuck(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	release := make(chan struct{})
	defer close(release)
	const n = 6
	var probes atomic.Int64
	c := health.Func("stuck", func(context.Context) error {
		if probes.Add(1) > n {
			<-release
		}
		return nil
	})
	c.Interval, c.Timeout = 10*time.Millisecond, 10*time.Millisecond
	r, err := registry.New(cli, &registry.Options{Prefix: prefix, LeaveNotice: -1, Checks: []health.Check{c}})
	if err != nil {
		t.Fatal(err)
	}
	var all []registry.Instance
	for i := range n {
		all = append(all, registry.Instance{Service: "web", ID: strconv.Itoa(i), Raw: "value"})
	}
	if _, err := r.Register(bounded(t), all...); err != nil {
		t.Fatal(err)
	}
	for ctx := bounded(t); probes.Load() < 2*n; {
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			t.Fatal("the checks are not stuck")
		}
	}
	began := time.Now()
	var finishing time.Duration
	if err := r.Leave(bounded(t), func(context.Context) error { finishing = time.Since(began); return nil }); err != nil {
		t.Error(err)
	}
	if finishing > 3*time.Second {
		t.Errorf("finish was called after %v, want the 1 s that one stuck check has", finishing)
	}
}

func TestALeaveAfterOneWhoseFinishPanickedReturns(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	reg := register(t, cli, web("a"), &registry.Options{Prefix: prefix, LeaveNotice: -1})
	func() {
		defer func() { _ = recover() }() // it is the test's
		_ = reg.Leave(bounded(t), func(context.Context) error { panic("finish") })
		t.Error("no panic")
	}()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := reg.Leave(ctx, nil); err == nil || errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "panicked") {
		t.Errorf("got %v, want what happened to the first call", err)
	}
	if err := reg.Close(); err != nil {
		t.Error(err)
	}
}

func TestTheLargestInstanceHasRoomToSayThatItLeaves(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	i := web("a")
	var reg *registry.Registration
	for n := 64 << 10; reg == nil; n -= 8 {
		i.Metadata = map[string]string{"k": strings.Repeat("x", n)}
		var err error
		if reg, err = registry.Register(bounded(t), cli, i, &registry.Options{Prefix: prefix, LeaveNotice: -1}); err != nil && !errors.Is(err, registry.ErrInvalid) {
			t.Fatal(err)
		}
	}
	if err := reg.Leave(bounded(t), nil); err != nil {
		t.Error(err)
	}
}

package registry_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/etcdkit/etcdkit/discovery"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/health"
	"github.com/etcdkit/etcdkit/lease"
	"github.com/etcdkit/etcdkit/registry"
)

func TestNothingIsWrittenBeforeAnInstanceCanServe(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	var p patient
	p.is(errIll)
	before := get(t, cli, prefix).Header.Revision
	type result struct {
		reg *registry.Registration
		err error
	}
	registered := make(chan result, 1)
	go func() { // waited for below
		reg, err := registry.Register(bounded(t), cli, web("a"), &registry.Options{Prefix: prefix, Checks: []health.Check{p.check()}, AwaitServing: true})
		registered <- result{reg, err}
	}()
	p.probed(t, 20)
	if after := get(t, cli, prefix).Header.Revision; after != before {
		t.Errorf("revision %d, want %d: nothing was to be written", after, before)
	}
	p.is(nil)
	r := <-registered
	if r.err != nil {
		t.Fatal(r.err)
	}
	defer r.reg.Close()
	if i, version := record(t, cli, prefix, "web/a"); i.Status != registry.Passing || i.Reason != "" || version != 1 {
		t.Errorf("got %+v, version %d, want it passing from the first on", i, version)
	}
}

func TestRegisterTellsWhichCheckDidNotPass(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	var p patient
	p.is(errIll)
	before := get(t, cli, prefix).Header.Revision
	fine := health.Func("fine", func(context.Context) error { return nil })
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	reg, err := registry.Register(ctx, cli, web("a"), &registry.Options{Prefix: prefix, Checks: []health.Check{fine, p.check()}, AwaitServing: true})
	if reg != nil || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), prefix+"web/a: ") ||
		!strings.Contains(err.Error(), "patient: ill for the") || strings.Contains(err.Error(), "the 1th time") {
		t.Errorf("got %v, %v, want the deadline, and what the check said last", reg, err)
	}
	if after := get(t, cli, prefix).Header.Revision; after != before {
		t.Errorf("revision %d, want %d: nothing was to be written", after, before)
	}
	stuck := health.Func("silent", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
	ctx, cancel = context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := registry.Register(ctx, cli, web("a"), &registry.Options{Prefix: prefix, Checks: []health.Check{stuck}}); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "silent has no result yet") {
		t.Errorf("got %v, want the deadline and the check's name", err)
	}
}

func TestTheFirstRecordSaysWhatTheChecksFound(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	var p patient
	p.is(errIll)
	log := make(lines, 10)
	i := web("a")
	i.Reason = "mine"
	reg := register(t, cli, i, &registry.Options{Prefix: prefix, Checks: []health.Check{p.check()}, Logger: slog.New(slog.NewTextHandler(log, nil))})
	kv := eventually(t, cli, prefix+"web/a", 0, isPut).Kv
	first, err := registry.Decode(prefix, string(kv.Key), string(kv.Value))
	if err != nil || kv.Version != 1 || first.Status != registry.Critical || first.Reason != "patient: ill for the 1th time" {
		t.Errorf("version %d: got %+v, %v, want it critical and why", kv.Version, first, err)
	}
	if line := <-log; !strings.Contains(line, "from=passing to=critical because=\"patient: ill for the 1th time\"") {
		t.Errorf("log: %s", line)
	}
	all, err := discovery.List(bounded(t), cli, "web", &discovery.Options{Prefix: prefix})
	if err != nil || len(all) != 1 || len(all[0].Checks) != 1 {
		t.Fatalf("discovery: got %v, %v", all, err)
	}
	if c := all[0].Checks[0]; c.Name != "patient" || c.Status != health.Critical || c.Output == "" || time.Since(c.At) > within {
		t.Errorf("discovery: got %+v", c)
	}
	if s := reg.State(); s.Status != registry.Critical || len(s.Checks) != 1 || !s.Registered {
		t.Errorf("state %+v", s)
	}
	p.is(nil)
	if got := becomes(t, cli, prefix, registry.Passing); got.Reason != "mine" || got.Checks[0].Status != health.Passing {
		t.Errorf("got %+v, want it passing for the reason given", got)
	}
}

func TestBadChecksSendNothing(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	before := get(t, cli, prefix).Header.Revision
	for text, c := range map[string]health.Check{
		"executable file not found": health.Command("no-such-command-here"),
		"want a path":               health.HTTP("healthz"),
		"it has no Probe":           {Name: "c"},
	} {
		reg, err := registry.Register(bounded(t), cli, web("a"), &registry.Options{Prefix: prefix, Checks: []health.Check{c}})
		if reg != nil || !errors.Is(err, registry.ErrInvalid) || !errors.Is(err, health.ErrInvalid) || !strings.Contains(err.Error(), text) {
			t.Errorf("got %v, %v, want ErrInvalid with %q", reg, err, text)
		}
	}
	// The value has room for the instance, and none for what the checks may say.
	big := web("a")
	big.Metadata = map[string]string{"big": strings.Repeat("x", 62<<10)}
	fine := health.Func("fine", func(context.Context) error { return nil })
	if _, err := registry.Register(bounded(t), cli, big, &registry.Options{Prefix: prefix, Checks: []health.Check{fine}}); !errors.Is(err, registry.ErrInvalid) || !strings.Contains(err.Error(), "what its checks may say") {
		t.Errorf("got %v, want ErrInvalid", err)
	}
	if after := get(t, cli, prefix).Header.Revision; after != before {
		t.Errorf("revision %d, want %d: nothing was to be sent", after, before)
	}
	register(t, cli, big, &registry.Options{Prefix: prefix})
}

func TestANewAddressIsCheckedBeforeItIsWritten(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	var old, silent atomic.Int64
	c := health.Check{Name: "c", Interval: 10 * time.Millisecond, Probe: func(ctx context.Context, addr string) (string, error) {
		switch addr {
		case "new:1":
			return "", errIll
		case "silent:1":
			silent.Store(1)
			<-ctx.Done()
			<-time.After(100 * time.Millisecond) // longer than a Close that does not wait for it
			silent.Store(2)
			return "", ctx.Err()
		}
		old.Add(1)
		return "", nil
	}}
	reg := register(t, cli, web("a"), &registry.Options{Prefix: prefix, Checks: []health.Check{c}})
	move := func(ctx context.Context, to string) error {
		return reg.Update(ctx, func(i *registry.Instance) { i.Addr = to })
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := move(ctx, "silent:1"); !errors.Is(err, context.DeadlineExceeded) || reg.Instance().Addr != "10.0.0.1:80" {
		t.Errorf("got %v at %s, want the deadline, and nothing changed", err, reg.Instance().Addr)
	}
	if err := move(bounded(t), "new:1"); err != nil {
		t.Fatal(err)
	}
	if i, version := record(t, cli, prefix, "web/a"); i.Addr != "new:1" || i.Status != registry.Critical || version != 2 {
		t.Errorf("got %+v, version %d, want it critical with the new address", i, version)
	}
	was := old.Load()
	<-time.After(10 * c.Interval)
	if n := old.Load() - was; n != 0 {
		t.Errorf("%d probes of the old address", n)
	}
	moving := make(chan error, 1)
	silent.Store(0)
	go func() { moving <- move(bounded(t), "silent:1") }() // waited for below
	for limit := bounded(t); silent.Load() == 0; {
		select {
		case <-time.After(time.Millisecond):
		case <-limit.Done():
			t.Fatal("no probe")
		}
	}
	if err := reg.Close(); err != nil {
		t.Error(err)
	}
	if n := silent.Load(); n != 2 {
		t.Errorf("%d, want Close to have waited for the probe of the new address", n)
	}
	if err := <-moving; !errors.Is(err, registry.ErrClosed) {
		t.Errorf("an update that was under way: %v, want ErrClosed", err)
	}
}

func TestCloseEndsARegistrationWhoseChecksDoNotPass(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	var p patient
	p.is(errIll)
	r, err := registry.New(cli, &registry.Options{Prefix: prefix, Checks: []health.Check{p.check()}, AwaitServing: true})
	if err != nil {
		t.Fatal(err)
	}
	result := make(chan error, 1)
	go func() { // waited for below
		_, err := r.Register(bounded(t), web("a"))
		result <- err
	}()
	p.probed(t, 2)
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if err := <-result; !errors.Is(err, registry.ErrClosed) {
		t.Errorf("got %v, want ErrClosed", err)
	}
	was := p.probes.Load()
	<-time.After(200 * time.Millisecond)
	if n := p.probes.Load() - was; n != 0 {
		t.Errorf("%d probes after Close", n)
	}
}

func TestARawValueIsGatedToo(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	var p patient
	p.is(errIll)
	opts := &registry.Options{Prefix: prefix, Checks: []health.Check{p.check()}, AwaitServing: true}
	raw := registry.Instance{Service: "web", ID: "a", Raw: "value-2379"}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := registry.Register(ctx, cli, raw, opts); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the deadline", err)
	}
	p.is(nil)
	reg := register(t, cli, raw, opts)
	p.is(errIll)
	p.probed(t, 5)
	if s := reg.State(); s.Status != registry.Critical {
		t.Errorf("state %+v, want it critical", s)
	}
	if kv := get(t, cli, prefix+"web/a").Kvs[0]; string(kv.Value) != "value-2379" || kv.Version != 1 {
		t.Errorf("got %v, want the value as it is, written once", kv)
	}
}

func TestOptionsThatContradictEachOtherAreInvalid(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	k := lease.NewKeeper(cli, nil)
	defer k.Close()
	for want, opts := range map[string]*registry.Options{
		"TTL and Keeper":                {Prefix: prefix, Keeper: k, TTL: time.Minute},
		"AwaitServing":                  {Prefix: prefix, AwaitServing: true},
		`prefix "a//": invalid`:         {Prefix: "a//"},
		"registry: invalid: check \"\"": {Prefix: prefix, Checks: []health.Check{{}}},
	} {
		if _, err := registry.New(cli, opts); !errors.Is(err, registry.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want ErrInvalid with %q", err, want)
		}
	}
}

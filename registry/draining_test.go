package registry_test

import (
	"context"
	"errors"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/health"
	"github.com/etcdkit/etcdkit/lease"
	"github.com/etcdkit/etcdkit/registry"
)

// wantDrainingFirst fails unless each instance said draining before it was deleted, after a revision.
func wantDrainingFirst(t *testing.T, cli *clientv3.Client, prefix string, after int64, ids ...string) {
	t.Helper()
	for _, id := range ids {
		ev := eventually(t, cli, prefix+"web/"+id, after, func(ev *clientv3.Event) bool { return !isPut(ev) })
		before, err := cli.Get(bounded(t), prefix+"web/"+id, clientv3.WithRev(ev.Kv.ModRevision-1))
		if err != nil {
			t.Fatal(err)
		}
		last, err := registry.Decode(prefix, prefix+"web/"+id, string(before.Kvs[0].Value))
		if err != nil || last.Status != registry.Draining {
			t.Errorf("before %s went it was %s, %v, want draining", id, last.Status, err)
		}
	}
}

// All of them leave in one transaction, which does not go through.
func TestDrainingIsSaidThoughTheKeyOfAnotherInstanceWasTaken(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	r, err := registry.New(cli, &registry.Options{Prefix: prefix})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := r.Register(bounded(t), web("a"), web("b"), web("c")); err != nil {
		t.Fatal(err)
	}
	taken, err := cli.Put(bounded(t), prefix+"web/c", "10.0.0.1:80")
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	wantDrainingFirst(t, cli, prefix, taken.Header.Revision, "a", "b")
	if got := get(t, cli, prefix+"web/c"); len(got.Kvs) != 1 || string(got.Kvs[0].Value) != "10.0.0.1:80" {
		t.Errorf("the key that another client has taken: %v, want it left alone", got.Kvs)
	}
}

func TestDrainingThatCannotBeSaidIsSaidWhenEtcdIsBack(t *testing.T) {
	t.Parallel()
	c := etcdtest.NewCluster(t, &cluster.Options{Members: 1})
	cli := etcdtest.Client(t, c)
	k := lease.NewKeeper(cli, &lease.Options{TTL: time.Minute}) // a shared one: its keys outlive Close
	defer k.Close()
	r, err := registry.New(cli, &registry.Options{Keeper: k})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	regs, err := r.Register(bounded(t), web("a"), web("b"))
	if err != nil {
		t.Fatal(err)
	}
	at := regs[0].State().Revision
	if _, err := c.Kill(t.Context(), "etcd1"); err != nil {
		t.Fatal(err)
	}
	left := make(chan error, 1)
	go func() { left <- r.Close() }()
	<-time.After(2500 * time.Millisecond) // in which a try to say it ends without an answer
	if _, err := c.Start(t.Context(), "etcd1"); err != nil {
		t.Fatal(err)
	}
	if err := <-left; err != nil && !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	wantDrainingFirst(t, cli, "/services/", at, "a", "b")
}

func TestAStateIsWhatConsumersSee(t *testing.T) {
	t.Parallel()
	c := etcdtest.NewCluster(t, &cluster.Options{Members: 1})
	reg := register(t, etcdtest.Client(t, c), web("a"), &registry.Options{TTL: time.Minute})
	if _, err := c.Pause(t.Context(), "etcd1"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if err := reg.Drain(ctx, "deploy"); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("Drain without etcd: %v, want DeadlineExceeded", err)
	}
	changed := reg.Changed()
	if s := reg.State(); s.Status != registry.Passing {
		t.Errorf("%s, as etcd does not know better, want passing", s.Status)
	}
	if _, err := c.Resume(t.Context(), "etcd1"); err != nil {
		t.Fatal(err)
	}
	for ctx := bounded(t); reg.State().Status != registry.Draining; changed = reg.Changed() {
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("%+v, want it draining once etcd knows", reg.State())
		}
	}
}

func TestStatsHaveTheStatusThatConsumersSee(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	ill := health.Check{Name: "c", Probe: func(context.Context, string) (string, error) { return "", errIll }}
	r, err := registry.New(cli, &registry.Options{Prefix: prefix, Checks: []health.Check{ill}})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	regs, err := r.Register(bounded(t), web("a"))
	if err != nil {
		t.Fatal(err)
	}
	got, want := r.Stats().Registrations, registry.Group{Service: "web", Status: registry.Critical, Registered: true}
	if s := regs[0].State().Status; s != want.Status || got[want] != 1 || len(got) != 1 {
		t.Errorf("State has %s and Stats %v, want %v", s, got, want)
	}
}

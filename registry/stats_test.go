package registry_test

import (
	"maps"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/registry"
)

func TestStatsCountRegistrationsAndWhyTheyWereLost(t *testing.T) {
	t.Parallel()
	c := etcdtest.NewCluster(t, &cluster.Options{Members: 1})
	cli, key := etcdtest.Client(t, c), "/services/web/a"
	r, err := registry.New(cli, &registry.Options{TTL: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	drained := web("b")
	drained.Status = registry.Draining
	regs, err := r.Register(bounded(t), web("a"), drained)
	if err != nil {
		t.Fatal(err)
	}
	until := func(what string, ok func() bool) {
		t.Helper()
		for ctx := bounded(t); !ok(); {
			select {
			case <-time.After(10 * time.Millisecond):
			case <-ctx.Done():
				t.Fatalf("%+v, want them %s", r.Stats(), what)
			}
		}
	}
	lose := func(what registry.Loss, n uint64, how func() error) {
		t.Helper()
		if err := how(); err != nil {
			t.Fatal(err)
		}
		until("lost by "+string(what), func() bool { return r.Stats().Lost[what] >= n })
	}
	again := func() bool { return registered(regs) }
	lose(registry.LossLease, 2, func() error {
		_, err := c.Pause(t.Context(), "etcd1")
		return err
	})
	if _, err := c.Resume(t.Context(), "etcd1"); err != nil {
		t.Fatal(err)
	}
	until("registered again", again)
	lose(registry.LossDeleted, 1, func() error {
		_, err := cli.Delete(t.Context(), key)
		return err
	})
	until("registered again", again)
	lose(registry.LossTaken, 1, func() error {
		dying, err := cli.Grant(t.Context(), 2)
		if err != nil {
			return err
		}
		_, err = cli.Put(t.Context(), key, "h:1", clientv3.WithLease(dying.ID))
		return err
	})
	until("registered again", again)
	want := map[registry.Group]int{
		{Service: "web", Status: registry.Passing, Registered: true}:  1,
		{Service: "web", Status: registry.Draining, Registered: true}: 1,
	}
	if got := r.Stats().Registrations; !maps.Equal(got, want) {
		t.Errorf("registrations %v, want %v", got, want)
	}
	for i, want := range []registry.Stats{
		{Registrations: map[registry.Group]int{{Service: "web", Status: registry.Passing, Registered: true}: 1},
			Lost: map[registry.Loss]uint64{registry.LossLease: 1, registry.LossDeleted: 1, registry.LossTaken: 1}},
		{Registrations: map[registry.Group]int{{Service: "web", Status: registry.Draining, Registered: true}: 1},
			Lost: map[registry.Loss]uint64{registry.LossLease: 1}},
	} {
		if got := regs[i].Stats(); !maps.Equal(got.Registrations, want.Registrations) || !maps.Equal(got.Lost, want.Lost) {
			t.Errorf("registration %d: %+v, want %+v", i, got, want)
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if got := regs[0].Stats(); len(got.Registrations) != 0 || got.Lost[registry.LossTaken] != 1 {
		t.Errorf("a registration after Close: %+v, want it withdrawn, and the same losses", got)
	}
	if got := r.Stats(); len(got.Registrations) != 0 || got.Lost[registry.LossLease] != 2 {
		t.Errorf("after Close: %+v, want no registrations, and the same losses", got)
	}
}

func registered(regs []*registry.Registration) bool {
	for _, reg := range regs {
		if !reg.State().Registered {
			return false
		}
	}
	return true
}

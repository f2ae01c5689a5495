package doctor_test

import (
	"errors"
	"testing"

	"github.com/etcdkit/etcdkit/doctor"
	"github.com/etcdkit/etcdkit/etcdtest"
)

func TestCountersCountWhatClientsAskAndWatchersGet(t *testing.T) {
	t.Parallel()
	dev := etcdtest.NewCluster(t, nil)
	cli := etcdtest.Client(t, dev)
	read := func() (all doctor.Counters) {
		t.Helper()
		c, err := doctor.Status(t.Context(), cli, nil)
		if err != nil {
			t.Fatal(err)
		}
		counters, err := doctor.ReadCounters(t.Context(), c, nil)
		if err != nil || len(counters) != 3 {
			t.Fatalf("counters of %d members, %v, want 3", len(counters), err)
		}
		for _, one := range counters {
			all.Requests, all.Events = all.Requests+one.Requests, all.Events+one.Events
		}
		return all
	}
	before := read()
	changes := cli.Watch(t.Context(), "k")
	const puts = 20
	for range puts {
		if _, err := cli.Put(t.Context(), "k", ""); err != nil {
			t.Fatal(err)
		}
	}
	for seen := 0; seen < puts; {
		seen += len((<-changes).Events)
	}
	after := read()
	if grown := after.Requests - before.Requests; grown < puts || grown > 10*puts {
		t.Errorf("%v more requests, want %d and a few", grown, puts)
	}
	if grown := after.Events - before.Events; grown != puts {
		t.Errorf("%v more events, want %d", grown, puts)
	}
	if _, err := dev.Pause(t.Context(), "etcd1"); err != nil {
		t.Fatal(err)
	}
	c, err := doctor.Status(t.Context(), cli, nil)
	if err != nil {
		t.Fatal(err)
	}
	if all, err := doctor.ReadCounters(t.Context(), c, nil); err != nil || len(all) != 2 {
		t.Errorf("with a member paused: counters of %d members, %v, want 2", len(all), err)
	}
	if all, err := doctor.ReadCounters(t.Context(), c, &doctor.Options{Timeout: -1}); !errors.Is(err, doctor.ErrInvalid) {
		t.Errorf("with a bad option: got %v, %v, want ErrInvalid", all, err)
	}
}

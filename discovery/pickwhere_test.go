package discovery_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/etcdkit/etcdkit/discovery"
)

func TestPickWhereChoosesAmongUsableInstancesOnly(t *testing.T) {
	v, _, _ := view(t, discovery.Options{}, map[string]string{
		"a": meta(`"weight":1`), "b": meta(`"weight":3`), "c": meta(`"weight":4`),
	})
	withoutC := func() (*discovery.Instance, error) {
		return v.PickWhere(func(i *discovery.Instance) bool { return i.ID != "c" })
	}
	got := count(t, 400, withoutC, id)
	if got["c"] != 0 || !near(float64(got["b"]), 300, 0.2) {
		t.Errorf("got %v, want a and b alone, about 1 to 3", got)
	}
	i, err := withoutC()
	if err != nil {
		t.Fatal(err)
	}
	v.Report(i, errDown)
	if got := count(t, 100, withoutC, id); got["c"]+got[i.ID] != 0 {
		t.Errorf("%s has failed and c is not usable: got %v", i.ID, got)
	}
	if i, err := v.PickWhere(func(*discovery.Instance) bool { return false }); i != nil || !errors.Is(err, discovery.ErrNone) {
		t.Errorf("none is usable: got %v, %v, want ErrNone", i, err)
	}
}

func TestPickWhereFindsTheOnlyUsableInstanceOfMany(t *testing.T) {
	records := make(map[string]string)
	for n := range 500 {
		records[fmt.Sprintf("%03d", n)] = meta(`"zone":"%c"`, 'a'+n%3)
	}
	for _, opts := range []discovery.Options{{}, {Zone: "b"}, {Policy: discovery.LeastPending}} {
		v, _, _ := view(t, opts, records)
		only := func() (*discovery.Instance, error) {
			i, err := v.PickWhere(func(i *discovery.Instance) bool { return i.ID == "123" })
			v.Report(i, context.Canceled)
			return i, err
		}
		count(t, 100, only, id) // it fails the test on an error
		i, err := only()
		if err != nil {
			t.Fatal(err)
		}
		v.ReportFailure(i, errDown) // there is no other one
		if got := count(t, 100, only, id); got["123"] != 100 {
			t.Errorf("%+v: got %v, want 123 each time", opts, got)
		}
	}
}

package doctor_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/doctor"
	"github.com/etcdkit/etcdkit/etcdtest"
)

func TestCauseTellsWhyRequestsGetNoAnswer(t *testing.T) {
	t.Parallel()
	c := etcdtest.NewCluster(t, nil)
	cli := etcdtest.Client(t, c)
	fault := func(do func(context.Context, string) (*cluster.Change, error), member string) {
		t.Helper()
		if _, err := do(t.Context(), member); err != nil {
			t.Fatal(err)
		}
	}
	cause := func() error { return doctor.Cause(t.Context(), cli, &doctor.Options{Timeout: 2 * time.Second}) }
	at := make(map[string]string)
	for _, name := range c.Names() {
		endpoint, err := c.Endpoint(name)
		if err != nil {
			t.Fatal(err)
		}
		at[name] = name + " at " + strings.TrimPrefix(endpoint, "http://")
	}
	if err := cause(); err != nil {
		t.Errorf("all are well: got %v", err)
	}
	fault(c.Pause, "etcd3")
	if err, want := cause(), "doctor: the cluster has a quorum; "+at["etcd3"]+": no answer for 2s"; err == nil || err.Error() != want || errors.Is(err, doctor.ErrNoQuorum) {
		t.Errorf("one is silent: got %v, want %s", err, want)
	}
	fault(c.Kill, "etcd2")
	err, want := cause(), "doctor: no quorum: 1 of 3 members answer ("+at["etcd1"]+"), 2 are necessary; "+at["etcd2"]+": connection refused; "+at["etcd3"]+": no answer for 2s"
	if !errors.Is(err, doctor.ErrNoQuorum) || err.Error() != want {
		t.Errorf("two are away: got %v, want %s", err, want)
	}
	fault(c.Pause, "etcd1")
	if err := cause(); !errors.Is(err, doctor.ErrUnreachable) {
		t.Errorf("none answers: got %v, want ErrUnreachable", err)
	}
}

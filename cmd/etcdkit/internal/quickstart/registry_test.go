//go:build !etcdkit_client

package quickstart

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func counter(name string) prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: name})
}

func TestMetricsAreRegisteredWhenTheyAreRead(t *testing.T) {
	to := prometheus.NewRegistry()
	r := newRegistry(to, to)
	early := counter("early")
	r.MustRegister(early, counter("early"))
	if families, err := to.Gather(); err != nil || len(families) != 0 {
		t.Errorf("before they are read: got %d metrics, %v; want none", len(families), err)
	}
	if families, err := r.Gather(); err != nil || len(families) != 1 {
		t.Errorf("when they are read: got %d metrics, %v; want one", len(families), err)
	}
	if err := r.Register(counter("early")); err == nil {
		t.Error("after that a metric can be registered twice")
	}
	if err := r.Register(counter("late")); err != nil {
		t.Error(err)
	}
	if families, err := r.Gather(); err != nil || len(families) != 2 {
		t.Errorf("later: got %d metrics, %v; want two", len(families), err)
	}
	if !r.Unregister(early) {
		t.Error("a metric cannot be taken away again")
	}
}

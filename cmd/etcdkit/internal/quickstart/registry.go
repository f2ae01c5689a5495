//go:build !etcdkit_client

package quickstart

import (
	"errors"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

func init() {
	r := newRegistry(prometheus.DefaultRegisterer, prometheus.DefaultGatherer)
	prometheus.DefaultRegisterer, prometheus.DefaultGatherer = r, r
}

// registry registers metrics when they are first gathered. A metric that is there already is then left out,
// as those do who ask for one.
type registry struct {
	to   prometheus.Registerer
	from prometheus.Gatherer

	mu      sync.Mutex
	started bool // waiting is registered
	waiting []prometheus.Collector
}

func newRegistry(to prometheus.Registerer, from prometheus.Gatherer) *registry {
	return &registry{to: to, from: from}
}

// Register implements prometheus.Registerer.
func (r *registry) Register(c prometheus.Collector) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.started {
		return r.to.Register(c)
	}
	r.waiting = append(r.waiting, c)
	return nil
}

// MustRegister implements prometheus.Registerer.
func (r *registry) MustRegister(collectors ...prometheus.Collector) {
	for _, c := range collectors {
		if err := r.Register(c); err != nil {
			panic(err)
		}
	}
}

// Unregister implements prometheus.Registerer.
func (r *registry) Unregister(c prometheus.Collector) bool {
	if r.start() != nil {
		return false
	}
	return r.to.Unregister(c)
}

// Gather implements prometheus.Gatherer.
func (r *registry) Gather() ([]*dto.MetricFamily, error) {
	if err := r.start(); err != nil {
		return nil, err
	}
	return r.from.Gather()
}

// start registers what waits.
func (r *registry) start() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var failed []error
	for _, c := range r.waiting {
		var is prometheus.AlreadyRegisteredError
		if err := r.to.Register(c); err != nil && !errors.As(err, &is) {
			failed = append(failed, err)
		}
	}
	r.started, r.waiting = true, nil
	return errors.Join(failed...)
}

package metrics

import (
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/etcdkit/etcdkit/lock"
	"github.com/etcdkit/etcdkit/mirror"
	"github.com/etcdkit/etcdkit/registry"
)

// Metrics is a prometheus.Collector of the handles that were added to it. Its methods may be called
// from any goroutine.
type Metrics struct {
	mu            sync.Mutex
	handles       map[series]*handle
	registrations map[source]bool
	past          map[any]map[registry.Loss]uint64 // of those that were removed, by weak pointers, as they may be added again
}

// series identifies the metrics of a handle.
type series struct{ kind, name string }

// handle is what each scrape reads.
type handle struct{ collect func(s *scrape, name string) }

// New returns a Metrics without handles.
func New() *Metrics {
	return &Metrics{
		handles: make(map[series]*handle), registrations: make(map[source]bool),
		past: make(map[any]map[registry.Loss]uint64),
	}
}

// add adds a handle. It replaces one of the same kind and name: Prometheus would refuse a whole scrape
// that has both.
func (m *Metrics) add(kind, name string, collect func(s *scrape, name string)) (remove func()) {
	key, h := series{kind, strings.ToValidUTF8(name, "�")}, &handle{collect}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.handles[key] = h
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.handles[key] == h {
			delete(m.handles, key)
		}
	}
}

// Describe sends the descriptions of all metrics.
func (m *Metrics) Describe(to chan<- *prometheus.Desc) {
	for _, d := range descs {
		to <- d
	}
}

// Collect sends the metrics of all handles.
func (m *Metrics) Collect(to chan<- prometheus.Metric) {
	m.mu.Lock()
	handles := maps.Clone(m.handles)
	m.mu.Unlock()
	s := &scrape{to}
	for key, h := range handles {
		h.collect(s, key.name)
	}
	m.collectRegistrations(s)
}

// scrape is one round of Collect.
type scrape struct{ to chan<- prometheus.Metric }

func (s *scrape) gauge(d *prometheus.Desc, v float64, labels ...string) {
	s.to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func (s *scrape) count(d *prometheus.Desc, v uint64, labels ...string) {
	s.to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
}

// histogram sends how long something took.
func (s *scrape) histogram(d *prometheus.Desc, h lock.Histogram, labels ...string) {
	seconds := make(map[float64]uint64, len(h.Buckets))
	for bound, n := range h.Buckets {
		seconds[bound.Seconds()] = n
	}
	s.to <- prometheus.MustNewConstHistogram(d, h.Count, h.Sum.Seconds(), seconds, labels...)
}

// staleness returns for how long a copy may have missed changes; 0: it is fresh.
func staleness(fresh bool, since time.Time) float64 {
	if fresh {
		return 0
	}
	return max(0, time.Since(since).Seconds())
}

// reasons are mirror's, as label values.
var reasons = map[mirror.Reason]string{
	mirror.Compacted: "compacted", mirror.Behind: "behind", mirror.Regressed: "regressed",
	mirror.OtherCluster: "other_cluster", mirror.Diverged: "diverged",
}

func (s *scrape) rereads(d *prometheus.Desc, of map[mirror.Reason]uint64, name string) {
	for reason, word := range reasons {
		s.count(d, of[reason], name, word)
	}
}

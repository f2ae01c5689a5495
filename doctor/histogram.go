package doctor

import (
	"math"
	"slices"
	"time"

	dto "github.com/prometheus/client_model/go"
)

// bucket of a histogram: so many observations of at most this many seconds.
type bucket struct {
	most  float64
	count float64
}

// buckets of a metric, summed over its labels; nil if the page does not have it.
func (p *page) buckets(name string) []bucket {
	family := p.metrics[name]
	if family == nil {
		return nil
	}
	sums := make(map[float64]float64)
	for _, metric := range family.GetMetric() {
		h := metric.GetHistogram()
		for _, b := range h.GetBucket() {
			sums[b.GetUpperBound()] += float64(b.GetCumulativeCount())
		}
		sums[math.Inf(1)] += float64(h.GetSampleCount()) - infCount(h)
	}
	all := make([]bucket, 0, len(sums))
	for most, count := range sums {
		all = append(all, bucket{most, count})
	}
	slices.SortFunc(all, func(a, b bucket) int {
		if a.most < b.most {
			return -1
		}
		return 1
	})
	return all
}

// infCount is what buckets counts twice otherwise: the text form has the last bucket among the others.
func infCount(h *dto.Histogram) float64 {
	for _, b := range h.GetBucket() {
		if math.IsInf(b.GetUpperBound(), 1) {
			return float64(b.GetCumulativeCount())
		}
	}
	return 0
}

// since is what was observed after earlier; all of it if the member was restarted meanwhile.
func since(now, earlier []bucket) []bucket {
	if len(earlier) != len(now) {
		return now
	}
	diff := make([]bucket, len(now))
	for i := range now {
		if now[i].most != earlier[i].most || now[i].count < earlier[i].count {
			return now
		}
		diff[i] = bucket{now[i].most, now[i].count - earlier[i].count}
	}
	return diff
}

// observations is how many there are.
func observations(all []bucket) int {
	if len(all) == 0 {
		return 0
	}
	return int(all[len(all)-1].count)
}

// quantile is the value below which a part q of the observations lies, as Prometheus computes it: linear within a
// bucket. What lies in the last bucket counts as its lower bound.
func quantile(q float64, all []bucket) time.Duration {
	if observations(all) == 0 {
		return 0
	}
	rank := q * all[len(all)-1].count
	below := bucket{}
	for _, b := range all {
		if b.count < rank {
			below = b
			continue
		}
		if math.IsInf(b.most, 1) || b.count == below.count {
			return seconds(below.most)
		}
		return seconds(below.most + (b.most-below.most)*(rank-below.count)/(b.count-below.count))
	}
	return seconds(below.most)
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// gauge is the value of a metric without labels.
func (p *page) gauge(name string) (float64, bool) {
	family := p.metrics[name]
	if len(family.GetMetric()) == 0 {
		return 0, false
	}
	m := family.GetMetric()[0]
	switch {
	case m.GetGauge() != nil:
		return m.GetGauge().GetValue(), true
	case m.GetCounter() != nil:
		return m.GetCounter().GetValue(), true
	}
	return m.GetUntyped().GetValue(), m.GetUntyped() != nil
}

// quota is what the metrics say of it; 0 if nothing.
func (p *page) quota() int64 {
	v, _ := p.gauge("etcd_server_quota_backend_bytes")
	return int64(v)
}

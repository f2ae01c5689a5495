package doctor

import (
	"context"
	"sync"

	dto "github.com/prometheus/client_model/go"
)

// Counters are what a member counts since it started. Two readings make a rate; one that is smaller than the one before is
// of a member that has started since.
type Counters struct {
	Requests float64 // messages that clients sent it: requests, keepalives, watches
	Events   float64 // sent to watchers
}

// ReadCounters reads the metrics of the members of c that answered, all at the same time. A member whose metrics
// cannot be read is missing: it may serve them elsewhere. Of opts, Timeout and TLS count. The error is ErrInvalid.
func ReadCounters(ctx context.Context, c *Cluster, opts *Options) (map[ID]Counters, error) {
	o, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	p := newPages(o)
	defer p.close()
	var mu sync.Mutex
	all := make(map[ID]Counters)
	var reading sync.WaitGroup
	for _, m := range c.Members {
		if !m.Reachable {
			continue
		}
		reading.Go(func() { // waited for below
			var one page
			base, err := p.url(m.Endpoint)
			if err != nil {
				return
			}
			if p.readMetrics(ctx, base, &one); one.metrics == nil {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			all[m.ID] = Counters{
				Requests: total(one.metrics["grpc_server_msg_received_total"]),
				Events:   total(one.metrics["etcd_debugging_mvcc_events_total"]),
			}
		})
	}
	reading.Wait()
	return all, nil
}

// total is a counter, summed over its labels.
func total(family *dto.MetricFamily) (sum float64) {
	for _, metric := range family.GetMetric() {
		sum += metric.GetCounter().GetValue()
	}
	return sum
}

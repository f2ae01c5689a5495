package client

import (
	"context"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// The pauses between attempts at an endpoint grow from the first to the second.
const (
	firstPause = 25 * time.Millisecond
	maxPause   = 250 * time.Millisecond
)

// report is the outcome of one attempt: a client, or why there is none.
type report struct {
	endpoint int
	client   *clientv3.Client
	failure  *failure
}

// dialAny dials all endpoints at once and returns the first client, or Dial's
// error. By then its goroutines have ended and any other client is closed.
func dialAny(ctx context.Context, d *dialer) (*clientv3.Client, error) {
	attempts, cancel := context.WithCancel(ctx)
	defer cancel()
	reports := make(chan report)
	var running sync.WaitGroup
	for i := range d.endpoints {
		running.Go(func() { d.dialEndpoint(attempts, i, reports) }) // ends when attempts does
	}
	go func() {
		running.Wait()
		close(reports)
	}()

	var won *clientv3.Client
	var denied error
	failed := newFailures(d.endpoints, d.endpointsFrom)
	for r := range reports { // to the end, so that each report is received
		switch {
		case r.client != nil && won != nil:
			r.client.Close()
		case r.client != nil:
			won = r.client
			cancel()
		case r.failure.kind == rejected:
			denied = newError(d.endpoints[r.endpoint].text+": "+r.failure.text, ErrAuth, r.failure)
			cancel()
		default:
			failed.add(r.endpoint, r.failure)
			if failed.allFinal() {
				cancel()
			}
		}
	}
	if won != nil {
		return won, nil
	}
	if denied != nil {
		return nil, denied
	}
	return nil, failed.err(ctx)
}

// dialEndpoint makes attempts at an endpoint until one succeeds, trying again cannot
// help, or ctx is done.
func (d *dialer) dialEndpoint(ctx context.Context, i int, reports chan<- report) {
	for pause := firstPause; ; pause = min(2*pause, maxPause) {
		cli, f := d.attempt(ctx, d.endpoints[i])
		reports <- report{i, cli, f}
		if f == nil || f.kind == final || f.kind == rejected {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

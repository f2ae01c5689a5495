package queue

import (
	"context"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/ask"
	"github.com/etcdkit/etcdkit/internal/errtext"
)

const (
	hedgeAfter = 400 * time.Millisecond // a request without an answer is sent again
	mostHedges = 16                     // requests of a client that are sent again at a time: not all, when etcd is slow
	mostReads  = 8                      // reads of a client, at a time, after watches that ended
)

// client is what all queues of one *clientv3.Client share. Locks are taken in this order: client.mu,
// view.mu, watches.mu; the others are taken last.
type client struct {
	cli     *clientv3.Client
	etcd    *ask.Client
	watches watches
	reads   chan struct{} // a place is taken by each read after a watch has ended
	hedges  chan struct{} // and by each request that is sent again

	mu    sync.Mutex
	views map[string]*view
}

// clientOf returns the one client of a *clientv3.Client.
func clientOf(cli *clientv3.Client) *client {
	etcd := ask.Of(cli)
	return ask.Shared(etcd, func() *client {
		return &client{
			cli: cli, etcd: etcd, reads: make(chan struct{}, mostReads), hedges: make(chan struct{}, mostHedges),
			views: make(map[string]*view), watches: watches{cli: cli, open: make(map[*watch]struct{}), silence: silence},
		}
	})
}

// viewOf returns the view of a queue that had none.
func (c *client) viewOf(q *Queue) *view {
	c.mu.Lock()
	defer c.mu.Unlock()
	if v := q.used.Load(); v != nil {
		return v
	}
	v := c.views[q.prefix]
	if v == nil {
		v = newView(c, q.prefix)
		c.views[q.prefix] = v
	}
	v.users++
	q.used.Store(v)
	return v
}

// backoff spaces tries. In an outage it waits for its end.
func (c *client) backoff() *ask.Backoff { return c.etcd.Backoff(firstPause, maxPause) }

// gaveUp is the error of tries that ended as end says; last is why the latest one failed.
func gaveUp(end, last error) error {
	if ask.TimeIsUp(last) {
		return errtext.Errorf("no answer: %w", end)
	}
	return errtext.Errorf("%w; last: %w", end, last)
}

// hedge makes a request, and makes it again while it has no answer; see ask.Hedge. open tells that other
// tries may still be carried out. The request must be one that does no harm when it is carried out twice.
func hedge[T any](ctx context.Context, c *client, request func(ctx context.Context, n int) (T, error)) (answer T, open bool, err error) {
	h := ask.Hedge[T]{Try: request, Timeout: tryTimeout, Silence: func(int) time.Duration { return hedgeAfter }, Room: c.hedges}
	return h.Run(ctx)
}

// persist hedges a request until it is answered, cannot succeed, or ctx ends. unsure tells that a try besides the one
// that counts may have been carried out, or may still be.
func persist[T any](ctx context.Context, c *client, request func(ctx context.Context, n int) (T, error)) (answer T, unsure bool, err error) {
	for p := c.backoff(); ; {
		answer, open, err := hedge(ctx, c, request)
		unsure = unsure || open || err != nil && !ask.NotApplied(err)
		if err == nil || ask.Permanent(err) {
			return answer, unsure, err
		}
		if end := p.Wait(ctx); end != nil {
			return answer, unsure, gaveUp(end, err)
		}
	}
}

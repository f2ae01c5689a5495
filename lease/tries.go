package lease

import (
	"context"
	"time"

	"github.com/etcdkit/etcdkit/internal/ask"
)

// ownConnection is the route over the client's own connections, whichever member it picks. Every
// other route is an endpoint, over a connection of its own.
const ownConnection = ""

// tries makes one request over one route after the other, again and again, until one answers: when
// the latest try failed, or was silent for patience. While no member can be reached, it waits with all
// other handles for the client's prober.
type tries[T any] struct {
	etcd     etcd
	routes   []string
	patience time.Duration // on the first round of routes; it doubles with each further one,
	most     time.Duration // up to this
	maxPause time.Duration // after all routes failed, at most
	try      func(ctx context.Context, route string) (T, error)
	failed   func(error) (final bool) // gets each failure and silence
	drop     func(T)                  // gets answers that come after the first; nil: they need nothing
}

// firstPause is the bound of the first pause; each next one has twice that, up to maxPause.
const firstPause = 50 * time.Millisecond

// run returns when there is an answer, a final failure, or ctx is done. The tries have
// returned by then.
func (t *tries[T]) run(ctx context.Context) (T, error) {
	pause := ask.Jitter{First: firstPause, Most: t.maxPause}
	hedge := ask.Hedge[T]{
		Outages: t.etcd,
		Drop:    t.drop,
		Try: func(ctx context.Context, n int) (T, error) {
			answer, err := t.try(ctx, t.route(n))
			return answer, t.at(n, err)
		},
		Silence: func(n int) time.Duration {
			return min(t.patience<<min(n/len(t.routes), 16), max(t.most, t.patience))
		},
		Pause: func(n int, _ error) time.Duration {
			if (n+1)%len(t.routes) != 0 {
				return 0 // not before every route was taken
			}
			return pause.Next()
		},
		Failed: func(n int, err error) bool {
			if silent, ok := err.(ask.NoAnswerWithin); ok {
				err = t.at(n, silent)
			}
			return t.failed(err)
		},
	}
	answer, _, err := hedge.Run(ctx)
	return answer, err
}

func (t *tries[T]) route(n int) string { return t.routes[n%len(t.routes)] }

// at is a try's error, with where that was.
func (t *tries[T]) at(n int, err error) error {
	switch route := t.route(n); {
	case err == nil:
		return nil
	case route == ownConnection:
		return &ask.EndpointError{Endpoint: ask.Connection, Err: err}
	default:
		return &ask.EndpointError{Endpoint: route, Err: err}
	}
}

package lease

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/etcdkit/etcdkit/internal/ask"
)

// shared is the route over the client's own connections, whichever member it picks. Every
// other route is an endpoint, over a connection of its own.
const shared = ""

// everywhere stands for all routes, in an error.
const everywhere = "*"

// race puts one question to the members until one answers. The next route is taken when the
// latest failed, or was silent for patience; what was silent may still answer. Rejected: to
// give up a try before the next (a cluster that is slow everywhere would lose every lease),
// and to ask all members at once (a member's failure would cost the others a connection and
// a password check from every client).
//
// While no member can be reached, no try is made: the race waits with all others for the client's
// prober.
type race[T any] struct {
	etcd     etcd
	routes   []string
	patience time.Duration // on the first round of routes; it doubles with each further one,
	most     time.Duration // up to this
	maxPause time.Duration // after all routes failed, at most; see pause
	ask      func(ctx context.Context, route string) (T, error)
	// failed is told of each failure and silence; true ends the race with this error.
	failed func(*tryError) (final bool)
	lose   func(T) // gets answers that come after the first
}

// run returns when there is an answer, a final failure, or ctx is done. The tries have
// returned by then.
func (r *race[T]) run(ctx context.Context) (won T, err error) {
	type result struct {
		try   int
		value T
		err   error
	}
	ctx, cancel := context.WithCancel(ctx)
	results, pending := make(chan result), 0
	defer func() {
		cancel()
		for ; pending > 0; pending-- {
			if res := <-results; res.err == nil {
				r.lose(res.value)
			}
		}
	}()
	route := func(try int) string { return r.routes[try%len(r.routes)] }

	next := time.NewTimer(0)
	defer next.Stop()
	latest, asked := -1, false // the latest try, and whether it has neither failed nor answered
	var opened chan error      // in an outage: gets the end of the wait for a member
	defer func() {
		if opened != nil {
			cancel()
			<-opened
		}
	}()
	for {
		select {
		case <-next.C:
			if asked {
				silence := ask.Silent(r.silence(latest))
				r.etcd.Failed(silence)
				r.failed(&tryError{route(latest), silence}) // never final
			}
			if outage := r.etcd.Outage(); outage != nil {
				asked = false
				r.failed(&tryError{everywhere, outage}) // never final
				opened = make(chan error, 1)
				go func() { opened <- r.etcd.Await(ctx) }() // run waits for it
				continue
			}
			latest++
			asked = true
			pending++
			go func(try int) { // ends with ctx, and run waits for it
				value, err := r.ask(ctx, route(try))
				results <- result{try, value, err}
			}(latest)
			next.Reset(r.silence(latest))
		case err := <-opened:
			opened = nil
			if ctx.Err() != nil {
				return won, ctx.Err()
			}
			if err != nil {
				return won, &tryError{everywhere, err} // the client was closed
			}
			next.Reset(0)
		case res := <-results:
			pending--
			if res.err == nil {
				r.etcd.Answered()
				return res.value, nil
			}
			if ctx.Err() != nil {
				return won, ctx.Err()
			}
			failure := &tryError{route(res.try), res.err}
			if errors.Is(res.err, ask.ErrClosed) {
				return won, failure
			}
			if !ask.Answer(res.err) {
				r.etcd.Failed(res.err)
			}
			if r.failed(failure) {
				return won, failure
			}
			if res.try == latest && opened == nil {
				asked = false
				next.Reset(r.pause(latest + 1))
			}
		case <-r.etcd.Done():
			return won, &tryError{everywhere, ask.ErrClosed}
		case <-ctx.Done():
			return won, ctx.Err()
		}
	}
}

// silence is how long a try may be silent before the next one.
func (r *race[T]) silence(try int) time.Duration {
	return min(r.patience<<min(try/len(r.routes), 16), max(r.most, r.patience))
}

// firstPause is the bound of the first pause; each next one has twice that, up to maxPause.
const firstPause = 50 * time.Millisecond

// pause is how long to wait after so many tries, the latest of which failed: not at all
// before every route was taken, then with full jitter
// (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).
func (r *race[T]) pause(tries int) time.Duration {
	rounds := tries / len(r.routes)
	if tries%len(r.routes) != 0 {
		return 0
	}
	bound := min(r.maxPause, firstPause<<min(rounds-1, 16))
	return rand.N(bound) + 1
}

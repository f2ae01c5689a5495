package keys

import (
	"context"
	"errors"
	"time"

	"github.com/etcdkit/etcdkit/internal/ask"
)

const (
	// patience is how long an import or a copy goes on while no member answers.
	patience = 30 * time.Second
	// writeTimeout bounds one try of reading a batch and writing it.
	writeTimeout = 10 * time.Second
)

// errChanged is why a batch is written again: another client changed a key between reading and writing.
var errChanged = errors.New("keys were changed by other clients at every try")

// retrier makes requests to one cluster again while they are not answered.
type retrier struct {
	etcd     *ask.Client
	patience time.Duration // from the first failure on; 0: as long as ctx lets it
	waiting  func(error)   // hears why it waits, and nil when it goes on; may be nil
}

// do makes a request until it succeeds, or cannot. A request that may have been carried out is made again:
// writes compare first.
func (r *retrier) do(ctx context.Context, timeout time.Duration, request func(ctx context.Context) error) error {
	again := r.etcd.Backoff(20*time.Millisecond, 2*time.Second)
	var failing time.Time // since when
	for {
		trying, cancel := context.WithTimeout(ctx, timeout)
		err := request(trying)
		cancel()
		switch {
		case err == nil:
			r.etcd.Answered()
			if !failing.IsZero() {
				r.tell(nil)
			}
			return nil
		case ctx.Err() != nil:
			return r.etcd.GaveUp(ctx, err)
		case errors.Is(err, errChanged):
		case ask.Permanent(err):
			return err
		case r.etcd.Err() != nil: // the client was closed
			return r.etcd.Explain(err)
		default:
			r.etcd.Failed(err)
			r.tell(r.etcd.Explain(err))
		}
		if failing.IsZero() {
			failing = time.Now()
		}
		if r.pause(ctx, again, failing) != nil {
			switch {
			case ctx.Err() != nil:
				return r.etcd.GaveUp(ctx, err)
			case errors.Is(err, errChanged):
				return err
			}
			return r.etcd.Explain(err)
		}
	}
}

// pause waits until it is time for the next try, or until patience ends.
func (r *retrier) pause(ctx context.Context, again *ask.Backoff, failing time.Time) error {
	if r.patience == 0 {
		return again.Wait(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, r.patience-time.Since(failing))
	defer cancel()
	return again.Wait(ctx)
}

func (r *retrier) tell(why error) {
	if r.waiting != nil {
		r.waiting(why)
	}
}

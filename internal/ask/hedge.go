package ask

import (
	"context"
	"errors"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Hedge makes a request, and makes it again while it has no answer, as another member may answer:
// calls that follow one another go to different members, so a member that swallows requests costs a
// moment instead of the whole deadline. The first answer counts. The request must be one that may be
// carried out twice.
//
// A try that is silent is not given up before the next one starts: where every member is slow, none
// would ever be answered. All members at once are not asked either: each request would cost the
// cluster as many as it has members.
type Hedge[T any] struct {
	// Try makes the request. n counts the tries from 0. It must return soon after ctx has ended.
	Try func(ctx context.Context, n int) (T, error)
	// Silence is how long try n may be without an answer before the next one starts.
	Silence func(n int) time.Duration
	// Timeout ends Run as ctx does; 0: ctx alone ends it.
	Timeout time.Duration
	// Most is how many tries there may be; 0: any number.
	Most int
	// Room, which callers may share, has a place for each try under way except each caller's first one.
	// While it is full no other try starts. nil: no bound.
	Room chan struct{}
	// Pause is how long to wait for the next try after the latest one has failed. nil: a failure starts
	// no try, and Run returns when none is under way.
	Pause func(n int, err error) time.Duration
	// Failed receives why try n failed, that it is silent (as NoAnswerWithin), and with n = -1 that nothing can
	// be reached. It returns true for a failure that ends Run. nil: Permanent decides.
	Failed func(n int, err error) (final bool)
	// Drop receives answers that come after the first. nil: they need nothing.
	Drop func(T)
	// Outages, unless it is nil, is told of answers and failures. In an outage no try starts.
	Outages Outages
}

// Outages is what Hedge uses of a *Client.
type Outages interface {
	Done() <-chan struct{}
	Outage() error
	Await(ctx context.Context) error
	Answered()
	Failed(error)
}

// Read makes a request that reads; again, to another member, while there is no answer within a second. It takes 15 s at
// most. A request that needs the leader has no answer for seconds when the leader stands still, and is answered at once
// after the next election when it is made again.
func Read[T any](ctx context.Context, cli *clientv3.Client, request func(ctx context.Context) (T, error)) (T, error) {
	h := Hedge[T]{
		Outages: Of(cli), Timeout: 15 * time.Second,
		Silence: func(int) time.Duration { return time.Second },
		Try:     func(ctx context.Context, _ int) (T, error) { return request(ctx) },
	}
	answer, _, err := h.Run(ctx)
	return answer, err
}

// Run returns the first answer; or an error that ends it; or, when no try is under way and none
// follows, the latest failure. When ctx ends no try starts, but those under way may still be answered.
// All tries have returned when Run returns.
//
// open tells that a try besides the one that counts may still be carried out, or have been: it was
// under way, or failed with an error that does not say.
func (h *Hedge[T]) Run(ctx context.Context) (answer T, open bool, err error) {
	var cancel context.CancelFunc
	if h.Timeout > 0 {
		ctx, cancel = context.WithTimeout(ctx, h.Timeout)
	} else {
		ctx, cancel = context.WithCancel(ctx)
	}
	r := &hedging[T]{Hedge: h, ctx: ctx, results: make(chan result[T]), latest: -1, next: time.NewTimer(time.Hour)}
	r.proceed()
	answer, err = r.firstAnswer()
	open = r.open || r.pending > 0 // before cancel, which gives the others an end
	cancel()
	r.next.Stop()
	if r.over != nil {
		<-r.over
	}
	for ; r.pending > 0; r.pending-- {
		switch late := <-r.results; {
		case late.err != nil:
		case err != nil:
			answer, err = late.answer, nil
		case h.Drop != nil:
			h.Drop(late.answer)
		}
	}
	return answer, open, err
}

// hedging is a Run.
type hedging[T any] struct {
	*Hedge[T]
	ctx     context.Context
	results chan result[T]
	pending int // tries under way
	latest  int // the number of the latest try; -1: none yet
	asked   bool
	next    *time.Timer
	over    chan error // in an outage: receives the result of the wait for its end
	open    bool       // a failed try may have been carried out
	err     error      // of the latest failure
}

type result[T any] struct {
	n      int
	answer T
	err    error
}

func (r *hedging[T]) firstAnswer() (none T, _ error) {
	ended := r.ctx.Done()
	var closed <-chan struct{}
	if r.Outages != nil {
		closed = r.Outages.Done()
	}
	for {
		select {
		case res := <-r.results:
			r.pending--
			if res.err == nil {
				if r.Outages != nil {
					r.Outages.Answered()
				}
				return res.answer, nil
			}
			if r.failed(res) {
				return none, res.err
			}
			if r.pending == 0 && !r.continues() {
				return none, r.err
			}
		case <-r.next.C:
			r.proceed()
		case err := <-r.over:
			r.over = nil
			if err != nil && r.ctx.Err() == nil {
				return none, err
			}
			r.proceed()
		case <-closed:
			return none, ErrClosed
		case <-ended:
			if ended = nil; r.pending == 0 {
				if r.err == nil {
					r.err = context.Cause(r.ctx)
				}
				return none, r.err
			}
		}
	}
}

// continues tells whether a try follows although none is under way.
func (r *hedging[T]) continues() bool {
	return r.ctx.Err() == nil && (r.over != nil || r.Pause != nil && r.mayTry())
}

func (r *hedging[T]) mayTry() bool { return r.Most == 0 || r.latest+1 < r.Most }

// proceed starts the next try if it may start now.
func (r *hedging[T]) proceed() {
	if r.ctx.Err() != nil || r.over != nil {
		return
	}
	if r.asked {
		silent := NoAnswerWithin(r.Silence(r.latest))
		if r.Outages != nil {
			r.Outages.Failed(silent)
		}
		if r.Failed != nil {
			r.Failed(r.latest, silent)
		}
	}
	if !r.mayTry() {
		return
	}
	if r.Outages != nil {
		if outage := r.Outages.Outage(); outage != nil {
			r.awaitEnd(outage)
			return
		}
	}
	if r.latest >= 0 && r.Room != nil {
		select {
		case r.Room <- struct{}{}:
		default:
			r.next.Reset(r.Silence(r.latest))
			return
		}
	}
	r.latest++
	r.asked = true
	r.pending++
	go r.try(r.latest) // Run waits for it
	r.next.Reset(r.Silence(r.latest))
}

// awaitEnd waits for the end of an outage.
func (r *hedging[T]) awaitEnd(outage error) {
	r.asked = false
	if r.Failed != nil {
		r.Failed(-1, outage)
	}
	over := make(chan error, 1)
	r.over = over
	go func() { over <- r.Outages.Await(r.ctx) }() // Run waits for it
}

func (r *hedging[T]) try(n int) {
	answer, err := r.Try(r.ctx, n)
	if n > 0 && r.Room != nil {
		<-r.Room
	}
	r.results <- result[T]{n, answer, err}
}

// failed records a failure. It tells whether that ends Run.
func (r *hedging[T]) failed(res result[T]) bool {
	r.err = res.err
	r.open = r.open || !NotApplied(res.err)
	if errors.Is(res.err, ErrClosed) {
		return true
	}
	if r.ctx.Err() != nil {
		return r.Failed == nil && Permanent(res.err)
	}
	if r.Outages != nil && !IsAnswer(res.err) {
		r.Outages.Failed(res.err)
	}
	if r.Failed == nil && Permanent(res.err) || r.Failed != nil && r.Failed(res.n, res.err) {
		return true
	}
	if res.n == r.latest {
		r.asked = false
		if r.Pause != nil && r.over == nil {
			r.next.Reset(r.Pause(res.n, res.err))
		}
	}
	return false
}

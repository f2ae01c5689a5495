package mirror

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"
)

// race calls try, and once more whenever stagger has passed without an answer, at most n times;
// the first answer wins. Calls that follow one another go to different members, so one that
// swallows requests costs a stagger and not a deadline. What a member refuses ends the race, too;
// that one of them could not be reached, or is in trouble, does so when no other try is under
// way. race returns when all tries have ended, and drops what was won too late.
func race[T any](ctx context.Context, n int, stagger time.Duration, try func(context.Context) (T, error), drop func(T)) (T, error) {
	type result struct {
		value T
		err   error
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan result, n)
	started, running := 0, 0
	start := func() {
		started++
		running++
		go func() { // ends with ctx, and is waited for below
			value, err := try(ctx)
			results <- result{value, err}
		}()
	}
	start()
	again := time.NewTicker(stagger)
	defer again.Stop()
	var won *result
	var last error
	for running > 0 {
		select {
		case <-again.C:
			if started < n && ctx.Err() == nil {
				start()
			}
		case r := <-results:
			running--
			switch {
			case r.err == nil && won == nil:
				won = &r
				cancel()
			case r.err == nil:
				drop(r.value)
			case won == nil && (last == nil || !refused(last)):
				if last = r.err; refused(last) {
					cancel()
				}
			}
		}
	}
	if won == nil {
		var none T
		return none, last
	}
	return won.value, nil
}

// refused tells whether the error is an answer that any member would give.
func refused(err error) bool {
	var etcd rpctypes.EtcdError
	if errors.As(err, &etcd) {
		return etcd.Code() != codes.Unavailable
	}
	switch status.Code(err) {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled:
		return false
	case codes.Unknown: // not gRPC's
		return false
	}
	return true
}

// backoff spaces attempts, with full jitter, so that many mirrors don't return in step.
type backoff struct {
	ceiling time.Duration
	conn    *grpc.ClientConn
}

const (
	backoffFirst = 50 * time.Millisecond
	backoffMost  = time.Second
)

// wait sleeps before the next attempt, at least for the given time. Where there is no
// connection it has one attempted now, as gRPC would take its time (up to two minutes by
// default), and returns when it is there.
func (b *backoff) wait(ctx context.Context, least time.Duration) {
	b.ceiling = min(max(2*b.ceiling, backoffFirst), backoffMost)
	ctx, cancel := context.WithTimeout(ctx, least+rand.N(b.ceiling))
	defer cancel()
	if state := b.conn.GetState(); least == 0 && state != connectivity.Ready {
		b.conn.ResetConnectBackoff()
		for state != connectivity.Ready && b.conn.WaitForStateChange(ctx, state) {
			state = b.conn.GetState()
		}
		return
	}
	<-ctx.Done()
}

package mirror

import (
	"context"
	"errors"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
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

package locks

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// raceTimeout bounds one race: some locks know no context, or starve.
const raceTimeout = 2 * time.Minute

// race has the members of a team change the counter n times in all, up and down in turns, each as
// often as it comes to it, so that none is alone in the end.
func race(ctx context.Context, t *team, l *history, n int) error {
	ctx, cancel := context.WithTimeoutCause(ctx, raceTimeout, fmt.Errorf("not done in %v", raceTimeout))
	defer cancel()
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	l.race()
	var next atomic.Int64
	var running sync.WaitGroup
	for client, c := range t.members {
		running.Go(func() {
			for {
				i := next.Add(1) - 1
				if i >= int64(n) || ctx.Err() != nil {
					return
				}
				if err := turn(ctx, c, l, client, 1-2*int(i%2)); err != nil {
					fail(err)
					return
				}
			}
		})
	}
	running.Wait()
	return context.Cause(ctx)
}

// turn is one operation.
func turn(ctx context.Context, c contender, l *history, client, delta int) error {
	asked := time.Now()
	if _, lockless := c.(*optimist); lockless {
		if err := c.add(ctx, delta); err != nil {
			return fmt.Errorf("add: %w", err)
		}
		l.held(client, asked)
		l.leaving()
		return nil
	}
	if err := c.take(ctx); err != nil {
		return fmt.Errorf("take the lock: %w", err)
	}
	l.held(client, asked)
	err := c.add(ctx, delta)
	l.leaving()
	if err != nil {
		err = fmt.Errorf("add: %w", err)
	}
	if left := c.leave(ctx); left != nil {
		err = errors.Join(err, fmt.Errorf("leave the lock: %w", left))
	}
	return err
}

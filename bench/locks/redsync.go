package locks

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/go-redsync/redsync/v4"
	pools "github.com/go-redsync/redsync/v4/redis"
	"github.com/go-redsync/redsync/v4/redis/goredis/v9"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// redlock is redsync's Mutex on three servers. The counter is on the first one.
type redlock struct{ peer *peer }

func (*redlock) name() string { return "redsync, 3 × redis" }

func (r *redlock) open(ctx context.Context, n int) (*team, error) {
	addrs, err := r.peer.addrs(ctx)
	if err != nil {
		return nil, err
	}
	name := r.peer.fresh()
	return assemble(n, func(t *team) (contender, error) {
		var all []pools.Pool
		var first *redis.Client
		for _, addr := range addrs {
			cli := redis.NewClient(&redis.Options{
				Addr:                     addr,
				MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}, // not used here
			})
			t.atEnd(cli.Close)
			all = append(all, goredis.NewPool(cli))
			if first == nil {
				first = cli
			}
		}
		c := &redlocker{
			// It gives up after 32 tries by default, which with 50 clients many would.
			Mutex:   redsync.New(all...).NewMutex(name, redsync.WithTries(math.MaxInt32)),
			cli:     first,
			counter: counter(name),
		}
		t.value = c.value
		return c, nil
	})
}

type redlocker struct {
	*redsync.Mutex
	cli     *redis.Client
	counter string
}

func (r *redlocker) value(ctx context.Context) (int, error) {
	n, err := r.cli.Get(ctx, r.counter).Int()
	if errors.Is(err, redis.Nil) {
		return 0, nil // nothing counted yet
	}
	return n, err
}

func (r *redlocker) take(ctx context.Context) error { return r.LockContext(ctx) }

func (r *redlocker) add(ctx context.Context, delta int) error {
	n, err := r.value(ctx)
	if err != nil {
		return err
	}
	return r.cli.Set(ctx, r.counter, n+delta, 0).Err()
}

func (r *redlocker) leave(ctx context.Context) error {
	held, err := r.UnlockContext(ctx)
	if err == nil && !held {
		err = fmt.Errorf("the lock of %s was lost", r.counter)
	}
	return err
}

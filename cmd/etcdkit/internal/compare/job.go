package compare

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/lease"
)

// Side is a client that adds or subtracts.
type Side struct {
	Cli     *clientv3.Client
	Lease   clientv3.LeaseID // the counter hangs on it: it is gone when all have left, however they left
	Counter string           // key; all others begin with it
	Delta   int

	ends []func() error
}

// Change changes the counter once: it says what it read, and the revision at which it wrote Next of that.
type Change func(ctx context.Context) (read *clientv3.GetResponse, wrote int64, err error)

// Next is what to write when the counter was read so.
func (s *Side) Next(got *clientv3.GetResponse) string { return strconv.Itoa(value(got) + s.Delta) }

// value is 0 before the first update.
func value(got *clientv3.GetResponse) int {
	if len(got.Kvs) == 0 {
		return 0
	}
	n, _ := strconv.Atoi(string(got.Kvs[0].Value)) // no other program knows the key
	return n
}

// AtEnd is called when the side leaves.
func (s *Side) AtEnd(f func() error) { s.ends = append(s.ends, f) }

func (s *Side) leave() error {
	var errs []error
	for _, f := range slices.Backward(s.ends) {
		errs = append(errs, f())
	}
	return errors.Join(errs...)
}

const (
	// TTL is the shortest that a busy machine keeps up with.
	TTL = 5 * time.Second
	// patience is for one turn. An update may have to wait for one of each side.
	patience = 5 * time.Second
)

// A Job is how many clients change the counter, and how often.
type Job struct {
	Dial   func(context.Context) (*clientv3.Client, error) // one for each side
	Sides  int                                             // the first adds, the second subtracts, and so on
	Rounds int                                             // updates made by each

	Seen func(Update) // if not nil, called with each update when it is made, by several goroutines at once
}

// Run lets all sides change a fresh counter, each with a client of its own, from the same moment on. It
// leaves nothing in etcd. The first error, or ctx, ends it.
func (j *Job) Run(ctx context.Context, w Way) (r *Result, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	counter := "counter-" + rand.Text()
	changes := make([]Change, j.Sides)
	for i := range changes {
		s := &Side{Counter: counter, Delta: delta(i)}
		defer func() { err = errors.Join(err, s.leave()) }()
		if changes[i], err = j.enter(ctx, s, w); err != nil {
			return nil, err
		}
	}

	updates := make([][]Update, len(changes))
	var workers sync.WaitGroup
	ready, start := make(chan struct{}), time.Time{}
	for i, change := range changes {
		workers.Go(func() {
			<-ready // so that the first has not updated the counter before the last has begun
			for range j.Rounds {
				u, err := j.once(ctx, i, change, start)
				if err != nil {
					cancel(fmt.Errorf("change the counter: %w", err))
					return
				}
				updates[i] = append(updates[i], u)
			}
		})
	}
	start = time.Now()
	close(ready)
	workers.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return &Result{Name: w.Name(), Updates: sorted(slices.Concat(updates...)), Took: time.Since(start)}, nil
}

func delta(side int) int { return 1 - side%2*2 }

// enter connects a side.
func (j *Job) enter(ctx context.Context, s *Side, w Way) (change Change, err error) {
	if s.Cli, err = j.Dial(ctx); err != nil {
		return nil, err
	}
	s.AtEnd(s.Cli.Close)
	keeper := lease.NewKeeper(s.Cli, &lease.Options{TTL: TTL})
	s.AtEnd(keeper.Close)
	l, err := keeper.Lease(ctx)
	if err != nil {
		return nil, err
	}
	s.Lease = l.ID()
	return w.Join(s)
}

func (j *Job) once(ctx context.Context, side int, change Change, start time.Time) (u Update, err error) {
	turn, cancel := context.WithTimeout(ctx, patience*time.Duration(j.Sides))
	defer cancel()
	asked := time.Since(start)
	read, wrote, err := change(turn)
	if err != nil && turn.Err() != nil && ctx.Err() == nil {
		err = fmt.Errorf("not done after %v: %w", patience*time.Duration(j.Sides), err)
	}
	if err != nil {
		return u, err
	}
	for _, kv := range read.Kvs { // one, or none before the first update
		u.Read = kv.ModRevision
	}
	u.Side, u.Wrote, u.Value = side, wrote, value(read)+delta(side)
	u.At = time.Since(start)
	u.Waited = u.At - asked
	if j.Seen != nil {
		j.Seen(u)
	}
	return u, nil
}

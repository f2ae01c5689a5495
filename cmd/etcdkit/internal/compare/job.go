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

// Worker is a client that adds or subtracts.
type Worker struct {
	Cli     *clientv3.Client
	Lease   clientv3.LeaseID // the counter has it: it is gone when all workers have ended, however they ended
	Counter string           // key; all others begin with it
	Delta   int

	atEnd []func() error
}

// Change changes the counter once: it says what it read, and the revision at which it wrote Next of that.
type Change func(ctx context.Context) (read *clientv3.GetResponse, wrote int64, err error)

// Next is what to write when the counter was read so.
func (w *Worker) Next(got *clientv3.GetResponse) string { return strconv.Itoa(value(got) + w.Delta) }

// value is 0 before the first update.
func value(got *clientv3.GetResponse) int {
	if len(got.Kvs) == 0 {
		return 0
	}
	n, _ := strconv.Atoi(string(got.Kvs[0].Value)) // no other program knows the key
	return n
}

// AtEnd has f called when the worker ends.
func (w *Worker) AtEnd(f func() error) { w.atEnd = append(w.atEnd, f) }

func (w *Worker) end() error {
	var errs []error
	for _, f := range slices.Backward(w.atEnd) {
		errs = append(errs, f())
	}
	return errors.Join(errs...)
}

const (
	// TTL is the shortest that a busy machine keeps up with.
	TTL = 5 * time.Second
	// turnTimeout is for one turn. An update may have to wait for one of each worker.
	turnTimeout = 5 * time.Second
)

// A Job is how many clients change the counter, and how often.
type Job struct {
	Dial    func(context.Context) (*clientv3.Client, error) // one for each worker
	Workers int                                             // the first adds, the second subtracts, and so on
	Rounds  int                                             // updates made by each

	Seen func(Update) // if not nil, called with each update when it is made, by several goroutines at once
}

// Run lets all workers change a fresh counter, each with a client of its own, from the same moment on. It
// leaves nothing in etcd. The first error, or ctx, ends it.
func (j *Job) Run(ctx context.Context, m Method) (r *Result, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	counter := "counter-" + rand.Text()
	changes := make([]Change, j.Workers)
	for i := range changes {
		w := &Worker{Counter: counter, Delta: delta(i)}
		defer func() { err = errors.Join(err, w.end()) }()
		if changes[i], err = j.connect(ctx, w, m); err != nil {
			return nil, err
		}
	}

	updates := make([][]Update, len(changes))
	var working sync.WaitGroup
	ready, start := make(chan struct{}), time.Time{}
	for i, change := range changes {
		working.Go(func() {
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
	working.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return &Result{Updates: sorted(slices.Concat(updates...)), Took: time.Since(start)}, nil
}

func delta(worker int) int { return 1 - worker%2*2 }

// connect connects a worker.
func (j *Job) connect(ctx context.Context, w *Worker, m Method) (change Change, err error) {
	if w.Cli, err = j.Dial(ctx); err != nil {
		return nil, err
	}
	w.AtEnd(w.Cli.Close)
	keeper := lease.NewKeeper(w.Cli, &lease.Options{TTL: TTL})
	w.AtEnd(keeper.Close)
	l, err := keeper.Lease(ctx)
	if err != nil {
		return nil, err
	}
	w.Lease = l.ID()
	return m.Join(w)
}

func (j *Job) once(ctx context.Context, worker int, change Change, start time.Time) (u Update, err error) {
	turn, cancel := context.WithTimeout(ctx, turnTimeout*time.Duration(j.Workers))
	defer cancel()
	asked := time.Since(start)
	read, wrote, err := change(turn)
	if err != nil && turn.Err() != nil && ctx.Err() == nil {
		err = fmt.Errorf("not done after %v: %w", turnTimeout*time.Duration(j.Workers), err)
	}
	if err != nil {
		return u, err
	}
	for _, kv := range read.Kvs { // one, or none before the first update
		u.Read = kv.ModRevision
	}
	u.Worker, u.Wrote, u.Value = worker, wrote, value(read)+delta(worker)
	u.At = time.Since(start)
	u.Waited = u.At - asked
	if j.Seen != nil {
		j.Seen(u)
	}
	return u, nil
}

// Package compare lets clients change one counter in etcd, half of them up and half of them down, in several
// ways one after the other: without a lock, and under the locks of clientv3 and etcdkit.
//
//	r, err := compare.New(&compare.Options{Where: "a cluster", Dial: dial, Clients: 2, Rounds: 50})
//	err = r.Run(ctx)
//	standing := r.Standing() // also while it runs
//
// It prints nothing: Standing has the figures, Picture the lines of a terminal, SVG a drawing.
package compare

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Options of a race.
type Options struct {
	Where   string // the cluster, in words
	Dial    func(context.Context) (*clientv3.Client, error)
	Clients int      // an even number
	Rounds  int      // updates made by each
	Only    []string // of Implementations, in this order
	X       Axis     // of the curves; "" is Time
}

// Axis is what the curves are drawn over.
type Axis string

const (
	Time    Axis = "seconds" // one scale for all: a slow lock has a long curve
	Updates Axis = "updates" // all curves are of one length
)

func (x Axis) other() Axis {
	if x == Time {
		return Updates
	}
	return Time
}

// arm is one way of the comparison, on its way.
type arm struct {
	Way

	seen   []Update // as they came
	result *Result  // nil until it is over
}

// Race is one comparison.
type Race struct {
	Options

	mu    sync.Mutex // guards what follows
	arms  []*arm
	now   string // what is going on
	at    *arm   // the one that is under way, or nil
	puts  int
	spent time.Duration // on puts
}

// New prepares a race.
func New(opts *Options) (*Race, error) {
	r := &Race{Options: *opts}
	for _, name := range opts.Only {
		at := slices.IndexFunc(ways(), func(w Way) bool { return w.Impl == name })
		if at < 0 {
			return nil, fmt.Errorf("unknown implementation %q", name)
		}
		r.arms = append(r.arms, &arm{Way: ways()[at]})
	}
	return r, nil
}

// putsAtATime are enough for a mean, and few enough to be made before and after each arm: a machine
// that others use, too, is not equally fast all the time.
const putsAtATime = 50

// Run runs all, one after the other. It leaves nothing in etcd.
func (r *Race) Run(ctx context.Context) error {
	if err := r.measure(ctx); err != nil {
		return err
	}
	for _, a := range r.arms {
		r.does(a.Name(), a)
		job := Job{Dial: r.Dial, Sides: r.Clients, Rounds: r.Rounds, Seen: func(u Update) {
			r.mu.Lock()
			defer r.mu.Unlock()
			a.seen = append(a.seen, u)
		}}
		result, err := job.Run(ctx, a.Way)
		if err != nil {
			return fmt.Errorf("%s: %w", a.Name(), err)
		}
		r.mu.Lock()
		a.result = result
		r.mu.Unlock()
		if err := r.measure(ctx); err != nil {
			return err
		}
	}
	return nil
}

// measure adds some Puts to the floor.
func (r *Race) measure(ctx context.Context) error {
	r.does("one Put at a time, to compare with", nil)
	job := Job{Dial: r.Dial, Sides: 1, Rounds: putsAtATime}
	result, err := job.Run(ctx, Way{Impl: "put", Join: onePut})
	if err != nil {
		return fmt.Errorf("measure a Put: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.puts += len(result.Updates)
	r.spent += result.Took
	return nil
}

func (r *Race) does(what string, at *arm) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now, r.at = what, at
}

// Unsafe is an error for each lock that did not protect the counter.
func (s *Standing) Unsafe() error {
	var errs []error
	for _, a := range s.Arms {
		if a.locked && !a.safe() {
			errs = append(errs, fmt.Errorf("the %s did not protect the counter: it ended at %d, and %d of %d updates were lost", a.title, a.Counter, a.Lost, a.Updates))
		}
	}
	return errors.Join(errs...)
}

// Package compare lets clients change one counter in etcd, half of them up and half of them down, by several
// methods one after the other: without a lock, and under the locks of clientv3 and etcdkit.
//
//	r, err := compare.New(&compare.Options{Where: "a cluster", Dial: dial, Clients: 2, Rounds: 50})
//	err = r.Run(ctx)
//	progress := r.Progress() // also while it runs
//
// It prints nothing: Progress has the figures, Picture the lines of a terminal, SVG a drawing.
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
	Only    []string // of Locks, in this order
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

// run is one method of the race: what is known of it.
type run struct {
	Method

	seen   []Update // as they came
	result *Result  // nil until it is over
}

// Race is one comparison.
type Race struct {
	Options

	mu       sync.Mutex // guards what follows
	runs     []*run
	activity string // what is going on
	current  *run   // the one that goes on, or nil
	puts     int
	spent    time.Duration // on puts
}

// New prepares a race.
func New(opts *Options) (*Race, error) {
	r := &Race{Options: *opts}
	for _, name := range opts.Only {
		at := slices.IndexFunc(methods(), func(m Method) bool { return m.Lock == name })
		if at < 0 {
			return nil, fmt.Errorf("unknown lock %q", name)
		}
		r.runs = append(r.runs, &run{Method: methods()[at]})
	}
	return r, nil
}

// putsAtATime are enough for a mean, and few enough to be made before and after each method: a machine
// that others use, too, is not equally fast all the time.
const putsAtATime = 50

// Run runs all, one after the other. It leaves nothing in etcd.
func (r *Race) Run(ctx context.Context) error {
	if err := r.measure(ctx); err != nil {
		return err
	}
	for _, m := range r.runs {
		r.begin(m.Name(), m)
		job := Job{Dial: r.Dial, Workers: r.Clients, Rounds: r.Rounds, Seen: func(u Update) {
			r.mu.Lock()
			defer r.mu.Unlock()
			m.seen = append(m.seen, u)
		}}
		result, err := job.Run(ctx, m.Method)
		if err != nil {
			return fmt.Errorf("%s: %w", m.Name(), err)
		}
		r.mu.Lock()
		m.result = result
		r.mu.Unlock()
		if err := r.measure(ctx); err != nil {
			return err
		}
	}
	return nil
}

// measure measures some Puts.
func (r *Race) measure(ctx context.Context) error {
	r.begin("one Put at a time, to compare with", nil)
	job := Job{Dial: r.Dial, Workers: 1, Rounds: putsAtATime}
	result, err := job.Run(ctx, Method{Lock: "put", Join: onePut})
	if err != nil {
		return fmt.Errorf("measure a Put: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.puts += len(result.Updates)
	r.spent += result.Took
	return nil
}

func (r *Race) begin(activity string, current *run) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.activity, r.current = activity, current
}

// Unsafe is an error for each lock that did not protect the counter.
func (p *Progress) Unsafe() error {
	var errs []error
	for _, m := range p.Methods {
		if m.locked && !m.safe() {
			errs = append(errs, fmt.Errorf("the %s did not protect the counter: it ended at %d, and %d of %d updates were lost", m.title, m.Counter, m.Lost, m.Updates))
		}
	}
	return errors.Join(errs...)
}

// Package race lets an Adder and a Subtractor change one counter in etcd and tells what became of it.
// It is the referee of the lock example: how to change a counter is the example's business.
package race

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/etcdkit/etcdkit/client"
	"github.com/etcdkit/etcdkit/internal/plot"
	"github.com/etcdkit/etcdkit/lease"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// Side is the Adder or the Subtractor.
type Side struct {
	Cli     *clientv3.Client
	Lease   clientv3.LeaseID // the counter hangs on it: it is gone when both have left, however they left
	Counter string           // key
	Delta   int

	ends []func() error
}

// Change changes the counter once: it says what it read, and the revision at which it wrote Next of that.
type Change func(ctx context.Context) (read *clientv3.GetResponse, wrote int64, err error)

// Contest is a way to change the counter, under the lock of an implementation, or "none".
type Contest struct {
	Impl string
	Join func(s *Side) (Change, error)
}

func (c Contest) name() string {
	if c.Impl == "none" {
		return "without lock"
	}
	return "lock of " + c.Impl
}

// An Update says which version of the counter was read, which was written, and its value.
type Update struct {
	Read, Wrote int64 // revisions; Read is 0 when there was no counter yet
	Value       int

	at time.Duration // since the start
}

// Next is what to write when the counter was read so.
func (s *Side) Next(got *clientv3.GetResponse) string { return strconv.Itoa(value(got) + s.Delta) }

// value is 0 before the first update.
func value(got *clientv3.GetResponse) int {
	if len(got.Kvs) == 0 {
		return 0
	}
	n, _ := strconv.Atoi(string(got.Kvs[0].Value)) // nobody else knows the key
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

// A Result is the outcome of a race.
type Result struct {
	Name    string
	Updates []Update // in the order in which etcd has made them
	Took    time.Duration
}

const (
	// TTL is the shortest that a busy machine keeps up with.
	TTL      = 5 * time.Second
	patience = 10 * time.Second // for one update, waiting for the lock included
)

// Settings of a comparison.
type Settings struct {
	endpoints, impl, svg *string
	n                    *uint
}

// Flags are the settings as flags.
func Flags(f *flag.FlagSet) *Settings {
	return &Settings{
		endpoints: f.String("endpoints", "", "etcd at `host:port,…` (default $ETCDKIT_ENDPOINTS or $ETCDCTL_ENDPOINTS, else localhost:2379)"),
		n:         f.Uint("n", 50, "`updates` made by each of the two"),
		impl:      f.String("impl", "none,clientv3,etcdkit", "`locks` to compare"),
		svg:       f.String("svg", "", "draw the counter over time into this `file`, too"),
	}
}

// Compare runs the contests that were asked for, one after the other, prints how each ended and draws them.
// It fails when one with a lock lost an update.
func (s *Settings) Compare(ctx context.Context, contests ...Contest) error {
	var results []*Result
	var unsafe []error
	for impl := range strings.SplitSeq(*s.impl, ",") {
		at := slices.IndexFunc(contests, func(c Contest) bool { return c.Impl == impl })
		if at < 0 {
			return fmt.Errorf("-impl %q: want some of none, clientv3 and etcdkit, with commas between", *s.impl)
		}
		r, err := Run(ctx, strings.Split(*s.endpoints, ","), *s.n, contests[at])
		if err != nil {
			return err
		}
		fmt.Println(r)
		results = append(results, r)
		if impl != "none" && (r.Counter() != 0 || r.Lost() != 0) {
			unsafe = append(unsafe, fmt.Errorf("the lock of %s did not protect the counter", impl))
		}
	}
	return errors.Join(Draw(*s.svg, results...), errors.Join(unsafe...))
}

// Run lets both change a fresh counter n times, each with a client of its own, from the same moment on.
// It leaves nothing in etcd. The first error, or ctx, ends it.
func Run(ctx context.Context, endpoints []string, n uint, c Contest) (r *Result, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	counter := "counter-" + rand.Text()
	changes := make([]Change, 2)
	for i, delta := range []int{+1, -1} {
		s := &Side{Counter: counter, Delta: delta}
		defer func() { err = errors.Join(err, s.leave()) }()
		if changes[i], err = s.enter(ctx, endpoints, c); err != nil {
			return nil, err
		}
	}

	updates := make([][]Update, len(changes))
	var workers sync.WaitGroup
	start := time.Now()
	for i, change := range changes {
		workers.Go(func() {
			for range n {
				u, err := once(ctx, change, 1-2*i)
				if err != nil {
					cancel(fmt.Errorf("change the counter: %w", err))
					return
				}
				u.at = time.Since(start)
				updates[i] = append(updates[i], u)
			}
		})
	}
	workers.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	r = &Result{Name: c.name(), Updates: slices.Concat(updates...), Took: time.Since(start)}
	slices.SortFunc(r.Updates, func(a, b Update) int { return cmp.Compare(a.Wrote, b.Wrote) })
	return r, nil
}

// enter connects a side.
func (s *Side) enter(ctx context.Context, endpoints []string, c Contest) (change Change, err error) {
	if s.Cli, err = client.Dial(ctx, &client.Options{Endpoints: endpoints}); err != nil {
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
	return c.Join(s)
}

func once(ctx context.Context, change Change, delta int) (u Update, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	read, wrote, err := change(ctx)
	if err != nil {
		return u, err
	}
	for _, kv := range read.Kvs { // one, or none before the first update
		u.Read = kv.ModRevision
	}
	u.Wrote, u.Value = wrote, value(read)+delta
	return u, nil
}

// Counter is the final value.
func (r *Result) Counter() int {
	if len(r.Updates) == 0 {
		return 0
	}
	return r.Updates[len(r.Updates)-1].Value
}

// Lost counts the updates that are not in the final value. That was computed from one earlier version,
// which was computed from an earlier one still, and so on: what this chain leaves out is lost. (Counting
// the writes that overwrote something unread would be easier and wrong: what they overwrote can come
// back, when the other had read it before.)
func (r *Result) Lost() int {
	read := make(map[int64]int64, len(r.Updates))
	for _, u := range r.Updates {
		read[u.Wrote] = u.Read
	}
	lost := len(r.Updates)
	if lost > 0 {
		for rev := r.Updates[lost-1].Wrote; rev != 0; rev = read[rev] {
			lost--
		}
	}
	return lost
}

// String is the result in one line.
func (r *Result) String() string {
	each := r.Took / time.Duration(max(1, len(r.Updates)))
	return fmt.Sprintf("%s: counter %d (want 0) · %d of %d updates lost · %.1f ms an update",
		r.Name, r.Counter(), r.Lost(), len(r.Updates), each.Seconds()*1000)
}

// Draw draws the counter over time: on stdout and, unless svg is empty, into the file of that name.
func Draw(svg string, results ...*Result) error {
	var charts []plot.Chart
	for _, r := range results {
		charts = append(charts, r.chart())
	}
	fmt.Print("\n", plot.Terminal(80, 8, charts...))
	if svg == "" {
		return nil
	}
	for i, r := range results {
		charts[i].Title = r.String() // a file stands alone; above, the results have been printed already
	}
	var b bytes.Buffer
	if err := plot.SVG(&b, charts...); err != nil {
		return err
	}
	return os.WriteFile(svg, b.Bytes(), 0o644)
}

func (r *Result) chart() plot.Chart {
	points := []plot.Point{{}} // zero at the start
	at := time.Duration(0)
	for _, u := range r.Updates {
		at = max(at, u.at) // two answers can overtake each other on their way here
		points = append(points, plot.Point{X: at.Seconds(), Y: float64(u.Value)})
	}
	return plot.Chart{
		Title: r.Name, XLabel: "seconds", YLabel: "counter", Steps: true,
		Series: []plot.Series{{Name: r.Name, Points: points}},
	}
}

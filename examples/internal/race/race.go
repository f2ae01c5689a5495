// Package race lets an Adder and a Subtractor change one counter in etcd and tells what became of it.
// It is the referee of the lock example: how to change a counter is the example's business.
package race

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/etcdkit/etcdkit/client"
	"github.com/etcdkit/etcdkit/internal/plot"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
)

// Change reads the counter (no key means zero), adds delta and writes the sum back, on the lease of
// the session: so the counter is gone when both have left, however they left.
type Change func(ctx context.Context, s *concurrency.Session, counter string, delta int) (Update, error)

// An Update says which version of the counter was read, which was written, and its value.
type Update struct {
	Read, Wrote int64 // revisions; Read is 0 when there was no counter yet
	Value       int

	at time.Duration // since the start
}

// A Result is the outcome of a race.
type Result struct {
	Name    string
	Updates []Update // in the order in which etcd has made them
	Took    time.Duration
}

const (
	ttl      = 5                // seconds; the shortest that a busy machine keeps up with
	patience = 10 * time.Second // for one update, waiting for the lock included
)

// Run lets both change a fresh counter n times, each with a client of its own, from the same moment on.
// It leaves nothing in etcd. The first error, or ctx, ends it.
func Run(ctx context.Context, name string, endpoints []string, n uint, change Change) (*Result, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	counter := "counter-" + rand.Text()
	deltas := []int{+1, -1}
	sessions := make([]*concurrency.Session, len(deltas))
	for i := range deltas {
		cli, err := client.Dial(ctx, &client.Options{Endpoints: endpoints})
		if err != nil {
			return nil, err
		}
		defer cli.Close()
		if sessions[i], err = session(ctx, cli); err != nil {
			return nil, err
		}
		defer sessions[i].Close()
	}

	updates := make([][]Update, len(deltas))
	var workers sync.WaitGroup
	start := time.Now()
	for i, delta := range deltas {
		workers.Go(func() {
			for range n {
				u, err := once(ctx, sessions[i], counter, delta, change)
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
	r := &Result{Name: name, Updates: slices.Concat(updates...), Took: time.Since(start)}
	slices.SortFunc(r.Updates, func(a, b Update) int { return cmp.Compare(a.Wrote, b.Wrote) })
	return r, nil
}

// session is concurrency.NewSession with a deadline. NewSession would take ctx for closing, too, and then
// could not revoke the lease after an interrupt; so the lease is granted here.
func session(ctx context.Context, cli *clientv3.Client) (*concurrency.Session, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	lease, err := cli.Grant(ctx, ttl)
	if err != nil {
		return nil, fmt.Errorf("grant a lease: %w", err)
	}
	s, err := concurrency.NewSession(cli, concurrency.WithLease(lease.ID), concurrency.WithTTL(ttl))
	if err != nil {
		return nil, fmt.Errorf("open a session: %w", err)
	}
	return s, nil
}

func once(ctx context.Context, s *concurrency.Session, counter string, delta int, change Change) (Update, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return change(ctx, s, counter, delta)
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
	return fmt.Sprintf("%s: counter %d (want 0) · %d of %d updates lost · %.2fs",
		r.Name, r.Counter(), r.Lost(), len(r.Updates), r.Took.Seconds())
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

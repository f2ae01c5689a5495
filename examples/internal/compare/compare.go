// Package compare runs races for the counter under the flags of the lock example, prints how each ended
// and draws them.
package compare

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/etcdkit/etcdkit/internal/plot"
	"github.com/etcdkit/etcdkit/internal/race"
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

// Run runs the contests that were asked for, one after the other. It fails when one with a lock lost an
// update.
func (s *Settings) Run(ctx context.Context, contests ...race.Contest) error {
	job := race.Job{Endpoints: strings.Split(*s.endpoints, ","), Sides: 2, Rounds: int(*s.n)}
	var results []*race.Result
	var unsafe []error
	for impl := range strings.SplitSeq(*s.impl, ",") {
		at := slices.IndexFunc(contests, func(c race.Contest) bool { return c.Impl == impl })
		if at < 0 {
			return fmt.Errorf("-impl %q: want some of none, clientv3 and etcdkit, with commas between", *s.impl)
		}
		r, err := job.Run(ctx, contests[at])
		if err != nil {
			return err
		}
		fmt.Println(r)
		results = append(results, r)
		if contests[at].Locked() && (r.Counter() != 0 || r.Lost() != 0) {
			unsafe = append(unsafe, fmt.Errorf("the lock of %s did not protect the counter", impl))
		}
	}
	return errors.Join(draw(*s.svg, results), errors.Join(unsafe...))
}

// draw draws the counter over time: on stdout and, unless svg is empty, into the file of that name.
func draw(svg string, results []*race.Result) error {
	var charts []plot.Chart
	for _, r := range results {
		charts = append(charts, chart(r))
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

func chart(r *race.Result) plot.Chart {
	points := []plot.Point{{}} // zero at the start
	at := time.Duration(0)
	for _, u := range r.Updates {
		at = max(at, u.At) // two answers can overtake each other on their way here
		points = append(points, plot.Point{X: at.Seconds(), Y: float64(u.Value)})
	}
	return plot.Chart{
		Title: r.Name, XLabel: "seconds", YLabel: "counter", Steps: true,
		Series: []plot.Series{{Name: r.Name, Points: points}},
	}
}

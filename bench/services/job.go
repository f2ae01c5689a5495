package services

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/etcdkit/etcdkit/bench/lab"
	"github.com/etcdkit/etcdkit/bench/report"
)

// defaultTTL is the default of etcdkit, go-zero and go-kit; naming's user chooses.
const defaultTTL = 10 * time.Second

// job is a run.
type job struct {
	lab      *lab.Lab
	progress *report.Progress
	quick    bool
}

// row is what one table is about.
type row struct {
	name, what string
	measure    func(*job, context.Context) (*report.Group, error)
}

// rows are all there are, in the order in which they run.
func rows() []row {
	return []row{
		{"visible", "from the call that registers until a consumer lists the instance", (*job).visible},
		{"batch", "1,000 and 10,000 registrations from one process", (*job).batch},
		{"read", "reading the list and picking one, at 10 to 100,000 instances", (*job).read},
		{"bytes", "what one consumer receives for 200 updates among 1,000 instances", (*job).bytes},
		{"heap", "what a consumer of 10,000 instances holds", (*job).heap},
		{"recovery", "after a lost lease, an outage of etcd, a compaction while cut off", (*job).recovery},
	}
}

// modules are those whose versions a report names.
var modules = []string{
	"github.com/etcdkit/etcdkit", "go.etcd.io/etcd/client/v3", "go.etcd.io/etcd/server/v3",
	"github.com/zeromicro/go-zero", "github.com/go-kit/kit", "google.golang.org/grpc",
}

// either is the figure of a full run, or of a quick one.
func (j *job) either(full, quick int) int {
	if j.quick {
		return quick
	}
	return full
}

// measure starts the cluster, carries out the rows and prints what they found. A row that failed
// says so in its table, and the others go on. When ctx ends it tidies up; its error is then about
// that only.
func measure(ctx context.Context, s *settings, stdout, stderr io.Writer) (err error) {
	if err := tame(); err != nil {
		return err
	}
	j := &job{progress: report.NewProgress(stderr), quick: s.quick}
	j.progress.Step("cluster", "three members", 1, 1)
	j.lab, err = lab.Open(ctx)
	if err != nil {
		j.progress.Clear()
		return fmt.Errorf("start the cluster: %w", err)
	}
	defer func() {
		j.progress.Clear()
		err = errors.Join(err, j.lab.Close())
	}()
	r := report.New("etcdkit's registry and discovery beside their peers", s.quick, modules...)
	p := report.NewPrinter(stdout, s.format)
	j.progress.Clear()
	p.Begin(r)
	for _, row := range s.rows {
		g, err := row.measure(j, ctx)
		if ctx.Err() != nil {
			return nil // interrupted: what is complete was printed
		}
		j.progress.Clear()
		if err != nil {
			g = &report.Group{Name: row.name, Title: row.what, Notes: []string{"not measured: " + err.Error()}}
		}
		r.Groups = append(r.Groups, g)
		p.Group(g)
		if err := j.lab.Clear(ctx, root); err != nil {
			fmt.Fprintf(stderr, "bench services: after the row %s: %v; the next one may be off\n", row.name, err)
		}
	}
	r.Seconds = time.Since(r.Date).Seconds()
	return errors.Join(p.End(r), draw(r, s.svg, stderr))
}

// draw writes the picture, if one is wanted.
func draw(r *report.Report, name string, stderr io.Writer) (err error) {
	if name == "" {
		return nil
	}
	f, err := os.Create(name)
	if err != nil {
		return fmt.Errorf("draw: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	drawn, err := r.SVG(f)
	if !drawn && err == nil {
		fmt.Fprintln(stderr, "bench services: there is nothing to draw: the visible row failed")
	}
	return err
}

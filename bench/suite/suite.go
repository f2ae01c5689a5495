package suite

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

// Job is what one command of bench does.
type Job struct {
	Name    string
	About   string // paragraphs that begin its help
	Title   string // of the report
	Root    string // what all of its keys begin with; they are deleted after each row
	Picture string // the row that -svg draws
	Modules []string
	Rows    []Row
	End     func() error // of what rows have started for those after them; may be nil
}

// Row is what one or several tables of the same kind are about.
type Row struct {
	Name, What string
	Measure    func(context.Context, *Bench) ([]*report.Group, error)
}

// Bench is what a row works with.
type Bench struct {
	Lab      *lab.Lab
	Progress *report.Progress
	Quick    bool
}

// Either is the figure of a full run, or of a quick one.
func (b *Bench) Either(full, quick int) int {
	if b.Quick {
		return quick
	}
	return full
}

// measure starts the cluster, carries out the rows and prints what they found. When ctx ends it
// tidies up; its error is then about that only.
func (j *Job) measure(ctx context.Context, s *settings, stdout, stderr io.Writer) (err error) {
	b := &Bench{Progress: report.NewProgress(stderr), Quick: s.quick}
	b.Progress.Step("cluster", "three members", 1, 1)
	b.Lab, err = lab.Open(ctx)
	if err != nil {
		b.Progress.Clear()
		return fmt.Errorf("start the cluster: %w", err)
	}
	defer func() {
		b.Progress.Clear()
		err = errors.Join(err, j.end(), b.Lab.Close())
	}()
	r := report.New(j.Title, s.quick, j.Modules...)
	p := report.NewPrinter(stdout, s.format)
	b.Progress.Clear()
	p.Begin(r)
	for _, row := range s.rows {
		groups, err := row.Measure(ctx, b)
		if ctx.Err() != nil {
			return nil // interrupted: what is complete was printed
		}
		b.Progress.Clear()
		if err != nil {
			groups = []*report.Group{{Name: row.Name, Title: row.What, Notes: []string{"not measured: " + err.Error()}}}
		}
		for _, g := range groups {
			p.Group(g)
		}
		r.Groups = append(r.Groups, groups...)
		if err := b.Lab.Clear(ctx, j.Root); err != nil {
			fmt.Fprintf(stderr, "bench %s: after the row %s: %v; the next one may be off\n", j.Name, row.Name, err)
		}
	}
	r.Seconds = time.Since(r.Date).Seconds()
	return errors.Join(p.End(r), j.draw(r, s.svg, stderr))
}

func (j *Job) end() error {
	if j.End == nil {
		return nil
	}
	return j.End()
}

// draw writes the picture, if one is wanted.
func (j *Job) draw(r *report.Report, name string, stderr io.Writer) (err error) {
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
		fmt.Fprintf(stderr, "bench %s: there is nothing to draw: the row %s failed\n", j.Name, j.Picture)
	}
	return err
}

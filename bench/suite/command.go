package suite

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/etcdkit/etcdkit/bench/report"
)

const help = `%s

Usage:
  bench %s [flags]

The tables go to stdout, each when it is complete; how far the run is goes to stderr. ✓ and ✗ say
whether figures hold their bounds.

Rows:
`

const flagHelp = `
Flags:
  -quick       a smoke run under a minute: does it work, not how fast
  -only ROWS   some rows, with commas between
  -o FORMAT    table (default), markdown or json
  -svg FILE    draw the distributions of the %s row
`

// settings are the command line.
type settings struct {
	quick  bool
	rows   []Row
	format report.Format
	svg    string
}

// Run carries out the job and returns the exit code: 0, 1 when it failed, 2 for a wrong command
// line, 130 when it was interrupted.
func (j *Job) Run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	s, err := j.parse(args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprintf(stdout, help, j.About, j.Name)
		for _, r := range j.Rows {
			fmt.Fprintf(stdout, "  %-12s %s\n", r.Name, r.What)
		}
		fmt.Fprintf(stdout, flagHelp, j.Picture)
		return 0
	}
	if err != nil {
		fmt.Fprintf(stderr, "bench %s: %v\n\nSee 'bench %s -help'.\n", j.Name, err, j.Name)
		return 2
	}
	if err = j.measure(ctx, s, stdout, stderr); err != nil {
		fmt.Fprintf(stderr, "bench %s: %v\n", j.Name, err)
	}
	switch {
	case ctx.Err() != nil:
		fmt.Fprintf(stderr, "bench %s: interrupted\n", j.Name)
		return 130
	case err != nil:
		return 1
	}
	return 0
}

func (j *Job) parse(args []string) (*settings, error) {
	s := &settings{rows: j.Rows}
	f := flag.NewFlagSet(j.Name, flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.BoolVar(&s.quick, "quick", false, "")
	only := f.String("only", "", "")
	format := f.String("o", string(report.Table), "")
	f.StringVar(&s.svg, "svg", "", "")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	s.format = report.Format(*format)
	if !slices.Contains(report.Formats(), s.format) {
		return nil, fmt.Errorf("-o %q: want table, markdown or json", *format)
	}
	if *only != "" {
		var err error
		if s.rows, err = j.choose(strings.Split(*only, ",")); err != nil {
			return nil, err
		}
	}
	return s, j.checkSVG(s)
}

// choose finds rows by their names; they run in the order of the table whatever that of the names.
func (j *Job) choose(names []string) ([]Row, error) {
	var known []string
	for _, r := range j.Rows {
		known = append(known, r.Name)
	}
	for _, n := range names {
		if !slices.Contains(known, n) {
			return nil, fmt.Errorf("-only %q: want some of %s", n, strings.Join(known, ","))
		}
	}
	return slices.DeleteFunc(slices.Clone(j.Rows), func(r Row) bool { return !slices.Contains(names, r.Name) }), nil
}

func (j *Job) checkSVG(s *settings) error {
	if s.svg == "" {
		return nil
	}
	if !slices.ContainsFunc(s.rows, func(r Row) bool { return r.Name == j.Picture }) {
		return fmt.Errorf("-svg draws the %s row: add it to -only", j.Picture)
	}
	if info, err := os.Stat(filepath.Dir(s.svg)); err != nil || !info.IsDir() {
		return fmt.Errorf("-svg %s: %s is not a directory; create it first", s.svg, filepath.Dir(s.svg))
	}
	return nil
}

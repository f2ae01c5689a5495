package services

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

const help = `bench services measures etcdkit's registry and discovery beside go-zero's core/discov,
go-kit's sd/etcdv3 and etcd's naming packages, with clientv3 as the floor: in one run, on one
cluster of three processes that it starts and ends.

Usage:
  bench services [flags]

The tables go to stdout, each when it is complete; how far the run is goes to stderr. ✓ and ✗ say
whether etcdkit's figures hold their bounds. A full run takes about seven minutes of a machine that
does nothing else.

Rows:
`

const flagHelp = `
Flags:
  -quick       a smoke run under a minute: does it work, not how fast
  -only ROWS   some rows, with commas between
  -o FORMAT    table (default), markdown or json
  -svg FILE    draw the distributions of the visible row
`

// settings are the command line.
type settings struct {
	quick  bool
	rows   []row
	format report.Format
	svg    string
}

// Run carries out the job and returns the exit code: 0, 1 when it failed, 2 for a wrong command
// line, 130 when it was interrupted.
func Run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	s, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(stdout, help)
		for _, r := range rows() {
			fmt.Fprintf(stdout, "  %-12s %s\n", r.name, r.what)
		}
		fmt.Fprint(stdout, flagHelp)
		return 0
	}
	if err != nil {
		fmt.Fprintf(stderr, "bench services: %v\n\nSee 'bench services -help'.\n", err)
		return 2
	}
	if err = measure(ctx, s, stdout, stderr); err != nil {
		fmt.Fprintf(stderr, "bench services: %v\n", err)
	}
	switch {
	case ctx.Err() != nil:
		fmt.Fprintln(stderr, "bench services: interrupted")
		return 130
	case err != nil:
		return 1
	}
	return 0
}

func parse(args []string) (*settings, error) {
	s := &settings{rows: rows()}
	f := flag.NewFlagSet("services", flag.ContinueOnError)
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
		if s.rows, err = choose(strings.Split(*only, ",")); err != nil {
			return nil, err
		}
	}
	return s, s.checkSVG()
}

// choose finds rows by their names; they run in the order of the table whatever that of the names.
func choose(names []string) ([]row, error) {
	var known []string
	for _, r := range rows() {
		known = append(known, r.name)
	}
	for _, n := range names {
		if !slices.Contains(known, n) {
			return nil, fmt.Errorf("-only %q: want some of %s", n, strings.Join(known, ","))
		}
	}
	return slices.DeleteFunc(rows(), func(r row) bool { return !slices.Contains(names, r.name) }), nil
}

func (s *settings) checkSVG() error {
	if s.svg == "" {
		return nil
	}
	if !slices.ContainsFunc(s.rows, func(r row) bool { return r.name == "visible" }) {
		return errors.New("-svg draws the visible row: add it to -only")
	}
	if info, err := os.Stat(filepath.Dir(s.svg)); err != nil || !info.IsDir() {
		return fmt.Errorf("-svg %s: %s is not a directory; create it first", s.svg, filepath.Dir(s.svg))
	}
	return nil
}

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/etcdkit/etcdkit/internal/plot"
	"github.com/etcdkit/etcdkit/internal/race"
)

// raceFlags say what races, for how long, and where the result goes.
type raceFlags struct {
	clients, rounds int
	only            []string
	output, svg     string
}

// Beyond these the machine is measured, not the lock.
const (
	mostClients = 100
	mostRounds  = 1000
)

func newRace() *cobra.Command {
	var f raceFlags
	cmd := &cobra.Command{
		Use:     "race",
		Short:   "a counter without a lock, with clientv3's and with etcdkit's, live",
		GroupID: groupMain,
		Long: `Lets clients change one counter in etcd, half of them adding 1 and half of them subtracting 1,
each with a connection of its own: without a lock, under clientv3's Mutex, and under etcdkit's.
They run one after the other, so that none slows another down. On a terminal the counter is
drawn while it happens. It uses the cluster that ETCDKIT_ENDPOINTS or ETCDCTL_ENDPOINTS names,
and otherwise starts one of its own with three members, on free ports if the usual ones are
taken. It leaves nothing in etcd.

  COUNTER     where it ended; 0 is right
  LOST        updates that the end was not built on, because another client overwrote them unread
  MS/UPDATE   the time that it all took, divided by the updates
  × ONE PUT   the same, divided by a Put that one client does alone, measured in between
  HAND-OVERS  how often the lock went to another client than the one that had it
  WORST WAIT  the longest that a client waited from wanting an update to having it done

The exit code is 1 if a lock did not protect the counter.`,
		Example: "  etcdkit race\n  etcdkit race --clients 10 --only clientv3,etcdkit\n  etcdkit race --svg race.svg -o json > race.json",
		Args:    usageArgs(needs("", 0, 0)),
		RunE:    func(cmd *cobra.Command, _ []string) error { return runRace(cmd, f) },
	}
	cmd.Flags().IntVar(&f.clients, "clients", 2, fmt.Sprintf("how many change the counter, an even number up to %d", mostClients))
	cmd.Flags().IntVar(&f.rounds, "rounds", 50, fmt.Sprintf("updates made by each, up to %d", mostRounds))
	cmd.Flags().StringSliceVar(&f.only, "only", implementations(), "what to compare, in this order")
	cmd.Flags().StringVarP(&f.output, "output", "o", "text", "text or json (one object, when it is over)")
	cmd.Flags().StringVar(&f.svg, "svg", "", "draw the result into this file, too")
	return cmd
}

func implementations() []string {
	var names []string
	for _, c := range contests {
		names = append(names, c.Impl)
	}
	return names
}

// check answers a wrong command line before anything starts.
func (f *raceFlags) check() error {
	switch {
	case f.clients < 2 || f.clients > mostClients:
		return usagef("--clients %d: want 2 to %d, half to add and half to subtract", f.clients, mostClients)
	case f.clients%2 != 0:
		return usagef("--clients %d: want an even number, half to add and half to subtract", f.clients)
	case f.rounds < 1 || f.rounds > mostRounds:
		return usagef("--rounds %d: want 1 to %d", f.rounds, mostRounds)
	case len(f.only) == 0:
		return usagef("--only: name some of %s", strings.Join(implementations(), ", "))
	}
	for i, name := range f.only {
		known := implementations()
		if !slices.Contains(known, name) {
			if near := nearest(name, known); near != "" {
				return usagef("--only %q: did you mean %s?", name, near)
			}
			return usagef("--only %q: want some of %s", name, strings.Join(known, ", "))
		}
		if slices.Contains(f.only[:i], name) {
			return usagef("--only %s: %s is named twice", strings.Join(f.only, ","), name)
		}
	}
	if err := checkOutput(f.output, "text", "json"); err != nil {
		return err
	}
	return nil
}

// arm is one way of the comparison, on its way.
type arm struct {
	race.Contest

	seen   []race.Update // as they came
	result *race.Result  // nil until it is over
}

// contest is one run of the command.
type contest struct {
	raceFlags
	where string // the cluster, in words

	mu    sync.Mutex // guards what follows
	arms  []*arm
	now   string // what is going on
	puts  int
	spent time.Duration // on puts
}

func runRace(cmd *cobra.Command, f raceFlags) (err error) {
	if err := f.check(); err != nil {
		return err
	}
	if err := checkDirectory("--svg", f.svg); err != nil { // before anything is measured that could not be kept
		return err
	}
	defer endOnSecondSignal()()
	ctx, stdout := cmd.Context(), cmd.OutOrStdout()
	talk := newUI(stdout, cmd.ErrOrStderr(), f.output == "json")
	talk.live = !talk.silent && canRewrite(stdout)

	found := talk.waiting("looking for a cluster, or starting one")
	p, err := findPlace(ctx)
	found()
	if err != nil {
		return interrupted(ctx, err)
	}
	defer func() { err = errors.Join(err, p.leave()) }()

	c := &contest{raceFlags: f, where: p.describe()}
	if p.own != nil {
		c.where = p.kind() // its endpoints are gone when they could be of use
	}
	for _, name := range f.only {
		at := slices.IndexFunc(contests, func(c race.Contest) bool { return c.Impl == name })
		c.arms = append(c.arms, &arm{Contest: contests[at]})
	}
	end := func() {}
	if talk.live {
		end = show(ctx, os.Stdout, c.live)
	}
	err = c.run(ctx, p.endpoints)
	end()
	if err != nil {
		return interrupted(ctx, err)
	}
	return c.finish(stdout, talk.live)
}

// putsAtATime are enough for a mean, and few enough to be made before and after each arm: a machine
// that others use, too, is not equally fast all the time.
const putsAtATime = 50

func (c *contest) run(ctx context.Context, endpoints []string) error {
	if err := c.measure(ctx, endpoints); err != nil {
		return err
	}
	for _, a := range c.arms {
		c.does(a.Name())
		job := race.Job{Endpoints: endpoints, Sides: c.clients, Rounds: c.rounds, Seen: func(u race.Update) {
			c.mu.Lock()
			defer c.mu.Unlock()
			a.seen = append(a.seen, u)
		}}
		r, err := job.Run(ctx, a.Contest)
		if err != nil {
			return fmt.Errorf("%s: %w", a.Name(), err)
		}
		c.mu.Lock()
		a.result = r
		c.mu.Unlock()
		if err := c.measure(ctx, endpoints); err != nil {
			return err
		}
	}
	return nil
}

// measure adds some Puts to the floor.
func (c *contest) measure(ctx context.Context, endpoints []string) error {
	c.does("one Put at a time, to compare with")
	job := race.Job{Endpoints: endpoints, Sides: 1, Rounds: putsAtATime}
	r, err := job.Run(ctx, onePut)
	if err != nil {
		return fmt.Errorf("measure a Put: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.puts += len(r.Updates)
	c.spent += r.Took
	return nil
}

func (c *contest) does(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = what
}

// finish tells the result, and fails if a lock let an update be lost.
func (c *contest) finish(stdout io.Writer, terminal bool) error {
	s := c.snapshot()
	if c.output == "json" {
		if err := s.json(stdout); err != nil {
			return err
		}
	} else {
		width, height := 80, 24
		if terminal {
			width, height = size(os.Stdout)
		}
		for _, line := range s.picture(min(width, 120), height, terminal && coloured()) {
			if _, err := fmt.Fprintln(stdout, line); err != nil {
				return err
			}
		}
	}
	var errs []error
	if c.svg != "" {
		errs = append(errs, s.svg(c.svg))
	}
	for _, a := range s.Arms {
		if a.locked && !a.safe() {
			errs = append(errs, fmt.Errorf("the %s did not protect the counter: it ended at %d, and %d of %d updates were lost", a.title, a.Counter, a.Lost, a.Updates))
		}
	}
	return errors.Join(errs...)
}

func (s *standing) svg(file string) error {
	var charts []plot.Chart
	for _, a := range s.Arms {
		chart := a.chart(s)
		chart.Title = fmt.Sprintf("%s: %d of %d lost, %s ms an update, %s × one Put", a.title, a.Lost, a.Updates, decimal(a.Each), decimal(a.Puts))
		chart.YLabel = "counter"
		charts = append(charts, chart)
	}
	var b bytes.Buffer
	if err := plot.SVG(&b, charts...); err != nil {
		return err
	}
	return os.WriteFile(file, b.Bytes(), 0o644)
}

package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/compare"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/out"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/place"
)

// raceFlags say what races, for how long, and where the result goes.
type raceFlags struct {
	clients, rounds int
	only            []string
	output, svg, x  string
}

// Beyond these the machine is measured, not the lock.
const (
	mostClients = 100
	mostRounds  = 1000
)

func newRace(a *app) *cobra.Command {
	var f raceFlags
	cmd := &cobra.Command{
		Use:     "race",
		Short:   "a counter without a lock, with clientv3's and with etcdkit's, live",
		GroupID: groupMain,
		Long: paragraphs(
			`Clients change one counter in etcd, half of them adding 1 and half of them subtracting 1, each with a connection of its own: without a lock, under clientv3's Mutex, and under etcdkit's. The three run one after the other, so that none slows another down. On a terminal the counter is drawn while it changes. Two clients take about 6 s, fifty about a minute.`,
			`It uses the cluster that ETCDKIT_ENDPOINTS or ETCDCTL_ENDPOINTS names, and otherwise starts one of its own with three members, on free ports if the usual ones are taken. It leaves nothing in etcd.`,
			`  COUNTER     where it ended; 0 is right
  LOST        updates overwritten by a client that had not seen them
  MS/UPDATE   the time of the whole run, divided by the updates
  × ONE PUT   the same, divided by the time of a Put of one client alone
  HAND-OVERS  how often the lock went to another client
  WORST WAIT  the longest time from wanting an update to having it done`,
			`The exit code is 1 if a lock did not protect the counter.`),
		Example: "  etcdkit race\n  etcdkit race --clients 10 --only clientv3,etcdkit\n  etcdkit race --svg race.svg -o json > race.json",
		Args:    needs("", 0, 0),
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.race(cmd.Context(), f) },
	}
	cmd.Flags().IntVar(&f.clients, "clients", 2, fmt.Sprintf("how many change the counter, an even number up to %d", mostClients))
	cmd.Flags().IntVar(&f.rounds, "rounds", 50, fmt.Sprintf("updates made by each, up to %d", mostRounds))
	cmd.Flags().StringSliceVar(&f.only, "only", compare.Locks(), "what to compare, in this order")
	cmd.Flags().StringVarP(&f.output, "output", "o", "text", "text or json (one object, when it is over)")
	cmd.Flags().StringVar(&f.x, "x", string(compare.Time), "draw the counter over seconds, on one scale, or over updates")
	cmd.Flags().StringVar(&f.svg, "svg", "", "draw the result into this file, too")
	return cmd
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
		return usagef("--only: name some of %s", strings.Join(compare.Locks(), ", "))
	}
	for i, name := range f.only {
		known := compare.Locks()
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
	if axes := []string{string(compare.Time), string(compare.Updates)}; !slices.Contains(axes, f.x) {
		return usagef("--x %q: want %s", f.x, strings.Join(axes, " or "))
	}
	return checkOutput(f.output, "text", "json")
}

func (a *app) race(ctx context.Context, f raceFlags) (err error) {
	if err := f.check(); err != nil {
		return err
	}
	if err := checkDirectory("--svg", f.svg); err != nil { // before anything is measured that could not be kept
		return err
	}
	defer endOnSecondSignal()()
	found := func() {}
	if f.output == "text" {
		found = a.out.Waiting("looking for a cluster, or starting one")
	}
	p, err := place.Open(ctx, &place.Options{Logger: a.out.Logger(slog.LevelError), StatusHint: a.statusHint})
	found()
	if err != nil {
		return interrupted(ctx, err)
	}
	defer func() { err = errors.Join(err, p.Close()) }()

	where := p.String()
	if p.Own != nil {
		where = p.Kind() // its endpoints are gone when they could be of use
	}
	r, err := compare.New(&compare.Options{Where: where, Dial: p.Dial, Clients: f.clients, Rounds: f.rounds, Only: f.only, X: compare.Axis(f.x)})
	if err != nil {
		return err
	}
	end := func() {}
	if f.output == "text" {
		end = a.out.Screen(ctx, func(width, height int) []string { return live(r.Progress(), width, height, a.out.Palette) })
	}
	err = r.Run(ctx)
	end()
	if err != nil {
		if ctx.Err() != nil && f.output == "text" {
			err = errors.Join(err, a.picture(r.Progress()))
			a.out.Talkf("etcdkit: interrupted")
		}
		return interrupted(ctx, err)
	}
	return a.reportRace(r.Progress(), f)
}

// live is the race in its middle.
func live(s *compare.Progress, width, height int, p out.Palette) []string {
	return append(s.Picture(min(width, 120), height, p), "", "→ "+s.Now()+" · Ctrl-C ends it")
}

// reportRace tells the result, and fails if a lock let an update be lost.
func (a *app) reportRace(s *compare.Progress, f raceFlags) error {
	if f.output == "json" {
		if err := a.out.JSON(s); err != nil {
			return fmt.Errorf("write the result: %w", err)
		}
	} else if err := a.picture(s); err != nil {
		return err
	}
	var failed error
	if f.svg != "" {
		picture, err := s.SVG()
		if err == nil {
			err = os.WriteFile(f.svg, picture, 0o644)
		}
		failed = err
	}
	return errors.Join(failed, s.Unsafe())
}

// picture prints the race so far, on a screen of any size.
func (a *app) picture(s *compare.Progress) error {
	width, height := a.out.Size()
	return a.out.Printf("%s\n", strings.Join(s.Picture(min(width, 120), height, a.out.Palette), "\n"))
}

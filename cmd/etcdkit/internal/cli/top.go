package cli

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/etcdkit/etcdkit/client"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/out"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/place"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/top"
	"github.com/etcdkit/etcdkit/doctor"
)

// leastEvery bounds what top costs the members.
const leastEvery = 500 * time.Millisecond

func newTop(a *app) *cobra.Command {
	var format out.Format
	var every time.Duration
	var once bool
	cmd := &cobra.Command{
		Use: "top", Short: "a live picture: members, rates, locks, elections, services, leases", Args: needs("", 0, 0),
		Long: paragraphs(
			"Draws what goes on in a cluster, until you type q. Members are shown with their role, the time that they take to answer, how many entries they are behind, and the size of their database; then changes, requests and events per second; locks with their holders, elections with their leaders, services with their instances, and leases, under any prefix, those of clientv3 and etcdctl included.",
			`  q, Esc, Ctrl-C     quit
  tab, ← →, 1 to 5   overview, locks, elections, services, leases
  ↑ ↓, page up/down  scroll
  s                  sort: what is most urgent first (most waiters, fewest
                     candidates, instances out of service, the next lease to
                     end), or by name
  p, space           pause, and go on`,
			"While etcd does not answer it says so, keeps the last picture, and goes on. Elsewhere than on a terminal, and with --once, it prints one picture and ends; its rates are over one second.",
			"What it asks: each --every, of each member its status, its list of members and its metrics; and the list of leases, one question for each lease, and the keys on them. The leases are asked for less often when there are many: at most about 200 questions a second. The requests that it shows include its own. Nothing is written."),
		Example: "  etcdkit top\n  etcdkit top --every 5s --context prod\n  etcdkit top -o json | jq '.cluster.can_lose'",
	}
	f := clusterFlags(cmd)
	cmd.PreRunE = func(*cobra.Command, []string) error {
		if every < leastEvery {
			return usagef("--every %v: want %v or more", every, leastEvery)
		}
		return nil
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		live := !once && format.Is(out.Table) && out.IsTerminal(a.out.Stdout())
		p, err := a.find(cmd.Context(), f)
		if live && errors.Is(err, client.ErrUnreachable) && !errors.Is(err, client.ErrTLS) {
			p, err = place.FindLater(cmd.Context(), f, a.stdin) // the picture says that no member answers, until one does
		}
		if err != nil {
			return interrupted(cmd.Context(), unreachable(err))
		}
		return a.at(cmd.Context(), p, func(p *place.Place) error {
			poller := top.NewPoller(p.Client, every, &doctor.Options{TLS: p.TLS})
			if !live {
				return a.topOnce(cmd.Context(), poller, format)
			}
			err := a.topLive(cmd.Context(), poller)
			if errors.Is(err, out.ErrNoScreen) {
				return a.topOnce(cmd.Context(), poller, format)
			}
			return err
		})
	}
	cmd.Flags().DurationVar(&every, "every", 2*time.Second, "how often to ask the members")
	cmd.Flags().BoolVar(&once, "once", false, "print one picture and end")
	formatFlag(cmd, &format, out.Table, out.JSON, out.JSONL, out.Template)
	return cmd
}

// topOnce prints what there is at one moment.
func (a *app) topOnce(ctx context.Context, poller *top.Poller, format out.Format) error {
	done := a.out.Waiting("asking the members")
	s := poller.Once(ctx)
	done()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if s.Cluster.Err != nil {
		return doctorError(s.Cluster.Err)
	}
	var err error
	if format.Is(out.Table) {
		canvas := top.Canvas{Palette: a.out.Palette, Now: time.Now()}
		if out.IsTerminal(a.out.Stdout()) {
			canvas.Width, _ = a.out.Size()
		}
		err = a.out.Printf("%s\n", strings.Join(canvas.Picture(s, new(top.View)), "\n"))
	} else {
		err = a.out.Record(format, nil, out.Record{JSON: topAsJSON(s)})
	}
	switch {
	case err == nil && !s.Cluster.Value.HasQuorum():
		err = exitError(ExitUnreachable)
	case err == nil && s.Inventory.Err != nil:
		err = coded(ExitDegraded, s.Inventory.Err)
	}
	return err
}

// topLive draws until the user quits.
func (a *app) topLive(ctx context.Context, poller *top.Poller) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	asked := make(chan any, 1)
	go func() { // ends with ctx, and is waited for below
		defer cancel()
		defer func() { asked <- recover() }() // the terminal is given back before this program ends
		poller.Run(ctx)
	}()
	var view top.View
	interrupt := false
	err := a.out.Interactive(ctx, a.stdin, func(width, height int) []string {
		return top.Canvas{Width: width, Height: height, Palette: a.out.Palette, Now: time.Now()}.Picture(poller.State(), &view)
	}, func(key out.Key) bool {
		more, pause := view.Typed(key)
		if pause {
			view.Paused = poller.Pause()
		}
		interrupt = key == out.CtrlC
		return more
	})
	ended := ctx.Err()
	cancel()
	if panicked := <-asked; panicked != nil {
		panic(panicked)
	}
	switch {
	case err != nil:
		return err
	case interrupt:
		return exitError(ExitInterrupted)
	}
	return ended // by a signal
}

package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/out"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/place"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/tour"
)

func newTour(a *app) *cobra.Command {
	var output string
	var shop bool
	cmd := &cobra.Command{
		Use:     "tour",
		Short:   "a three-member cluster, six examples and a failover, checked",
		GroupID: groupMain,
		Long: paragraphs(
			`Checks a cluster as an operator does, runs the six examples against it, checks what each of them did, and then kills the leader of etcd while a lock is held and services are called.`,
			`It uses the cluster that ETCDKIT_ENDPOINTS or ETCDCTL_ENDPOINTS names, whose leader it leaves alone. Otherwise it starts one of its own with three members, on free ports if the usual ones are taken. It takes about 30 s, most of it waiting for leases to expire. The exit code is 1 if a check failed.`,
			`--shop adds a part of 15 s: three services under load while instances and an etcd member are killed.`,
			`The tour compiles the examples, which are Go programs. It needs the Go toolchain, and either an etcdkit checkout, a module that requires etcdkit, or a released build.`),
		Example: "  etcdkit tour\n  etcdkit tour --shop\n  ETCDKIT_ENDPOINTS=10.0.0.1:2379 etcdkit tour -o json",
		Args:    needs("", 0, 0),
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.tour(cmd.Context(), output, shop) },
	}
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json (one object at the end; progress goes to stderr)")
	cmd.Flags().BoolVar(&shop, "shop", false, "examples/shop under load, too, while its instances are killed")
	return cmd
}

func (a *app) tour(ctx context.Context, output string, shop bool) (err error) {
	if err := checkOutput(output, "text", "json"); err != nil {
		return err
	}
	defer endOnSecondSignal()()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	lessons := tour.Lessons()
	if shop {
		lessons = append(lessons, tour.Shop())
	}
	if output == "text" {
		a.out.Printf("%s\n", a.out.Palette.Paint(tourTitle(), out.Bold))
	}
	programs, err := tour.StartBuild(ctx, tour.Programs(lessons))
	if err != nil {
		return interrupted(ctx, err)
	}
	defer func() { err = errors.Join(err, programs.Close()) }()
	found := func() {}
	if output == "text" {
		found = a.out.Waiting("looking for a cluster, or starting one")
	}
	p, err := place.Open(ctx, &place.Options{Logger: a.out.Logger(slog.LevelError), StatusHint: a.statusHint})
	found()
	if err != nil {
		return interrupted(ctx, err)
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	opts := &tour.Options{
		Place: p, Programs: programs, Environ: os.Environ(), Data: output == "json",
		Etcdctl: []string{self, "ctl"}, Called: a.self + " ctl",
	}
	tell := func(ev tour.Event) { a.progress(ev) }
	if output == "text" {
		tell = (&guide{app: a}).tell
		a.out.Linef(2, "The cluster is at %s.", strings.Join(p.Endpoints, ","))
	}
	report, err := tour.Run(ctx, opts, lessons, tell)
	if err != nil {
		if ctx.Err() != nil {
			a.out.Talkf("etcdkit: interrupted")
		}
		return interrupted(ctx, err)
	}
	return a.reportTour(report, output)
}

// reportTour tells the result, and fails if a check has.
func (a *app) reportTour(r *tour.Report, output string) error {
	if output != "json" {
		a.summary(r)
	} else if err := a.out.JSON(r); err != nil {
		return err
	}
	if !r.OK {
		return exitError(ExitFailed)
	}
	return nil
}

// tourTitle is printed before there is a cluster: a compiler and an election take their time.
func tourTitle() string {
	if v := place.Variable(); v != "" {
		return "etcdkit tour on the cluster of " + v
	}
	return "etcdkit tour on a new cluster of three members"
}

// progress says on stderr which lesson it is.
func (a *app) progress(ev tour.Event) {
	if ev.Kind == tour.Begins {
		a.out.Talkf("etcdkit tour: %s", ev.Lesson.Title)
	}
}

// guide prints the tour as it goes.
type guide struct {
	*app
	waited func() // ends the line of what is waited for
}

func (g *guide) tell(ev tour.Event) {
	p := g.out.Palette
	switch ev.Kind {
	case tour.Begins, tour.Skipped:
		title := ev.Lesson.Title
		g.out.Printf("\n%s %s %s\n", p.Paint("──", out.Faint), p.Paint(title, out.Bold), p.Paint(strings.Repeat("─", max(2, 75-out.Width(title))), out.Faint))
		g.out.Linef(0, "%s", ev.Text)
		if ev.Kind == tour.Begins {
			g.out.Printf("\n")
		}
	case tour.Command:
		g.out.Printf("%s %s\n", p.Paint("$", out.Faint), p.Paint(ev.Text, out.Bold))
	case tour.Does:
		g.out.Linef(2, "%s %s", p.Paint("→", out.Orange), ev.Text)
	case tour.Line:
		if ev.Program != "" {
			g.out.Linef(2, "%s %s %s", p.Paint(fmt.Sprintf("%-3s", ev.Program), out.Faint), p.Paint("│", out.Faint), ev.Text)
			return
		}
		g.out.Linef(2, "  %s", ev.Text)
	case tour.Waiting:
		g.waited = g.out.Waiting(ev.Text)
	case tour.Waited:
		g.waited()
	case tour.Checked:
		mark := p.Paint("✓", out.Green)
		if !ev.OK {
			mark = p.Paint("✗", out.Red)
		}
		g.out.Linef(2, "%s %s", mark, ev.Text)
	}
}

func (a *app) summary(r *tour.Report) {
	checks, failed := r.Checks()
	p := a.out.Palette
	if failed > 0 {
		a.out.Printf("\n%s in %.1fs.\n", p.Paint(fmt.Sprintf("%d of %d checks FAILED", failed, checks), out.Red), r.Took)
		return
	}
	a.out.Printf("\n%s in %.1fs.\n\nWhat next:\n", p.Paint(fmt.Sprintf("All %d checks passed", checks), out.Green), r.Took)
	next := [][2]string{
		{a.self + " race", "the sixth example live, with up to 100 clients"},
		{a.self + " dev", "a cluster that stays; the examples find it"},
		{a.self + " dev kill leader", "in another terminal: a new leader is elected, timed"},
		{a.self + " dev run -- go test ./...", "your own tests on a cluster of their own"},
	}
	if a.self == runFromCheckout {
		next = append(next, [2]string{"make install", "puts etcdkit on your PATH, next to go's other tools"})
	}
	next = append(next, [2]string{"examples/", "each is one file that can be copied"})
	a.steps(next)
}

// steps prints commands and what they do: in one line each, if all of them fit.
func (a *app) steps(steps [][2]string) {
	widest, oneLine := 0, true
	for _, s := range steps {
		widest = max(widest, out.Width(s[0]))
	}
	for _, s := range steps {
		oneLine = oneLine && 2+widest+2+out.Width(s[1]) <= a.out.Width()
	}
	for _, s := range steps {
		command := a.out.Palette.Paint(s[0], out.Bold)
		if oneLine {
			a.out.Printf("  %s%s  %s\n", command, strings.Repeat(" ", widest-out.Width(s[0])), s[1])
		} else {
			a.out.Printf("  %s\n      %s\n", command, s[1])
		}
	}
}

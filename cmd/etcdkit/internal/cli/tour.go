package cli

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/out"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/place"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/tour"
)

func newTour(e *env) *cobra.Command {
	var output string
	var shop bool
	cmd := &cobra.Command{
		Use:     "tour",
		Short:   "a three-member cluster and the six examples on it, checked",
		GroupID: groupMain,
		Long: `Checks a cluster the way an operator does, runs the six examples against it one after
another, and checks what each of them did. It uses the cluster that ETCDKIT_ENDPOINTS or
ETCDCTL_ENDPOINTS names, and otherwise starts one of its own with three members, on free ports
if the usual ones are taken. Takes about 20 s, most of it waiting for leases to end. The exit
code is 1 if any expectation failed.

With --shop there is a seventh part, of some 15 s: three services under load, whose instances
are killed, with a member of etcd.

The examples are Go programs, and the tour compiles them: it needs the Go toolchain, and to be run
in a checkout of etcdkit, or in a module that requires it, or to be a released version.`,
		Args: usageArgs(needs("", 0, 0)),
		RunE: func(cmd *cobra.Command, _ []string) error { return e.tour(cmd.Context(), output, shop) },
	}
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json (one object, when it is over; its progress goes to stderr)")
	cmd.Flags().BoolVar(&shop, "shop", false, "the seventh part, too: examples/shop, with instances and a member killed")
	return cmd
}

func (e *env) tour(ctx context.Context, output string, shop bool) (err error) {
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
	programs, err := tour.StartBuild(ctx, tour.Programs(lessons))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, programs.Close()) }()
	p, err := place.Open(ctx, &place.Options{Logger: e.out.Logger(slog.LevelError)})
	if err != nil {
		return interrupted(ctx, err)
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	opts := &tour.Options{
		Place: p, Programs: programs, Environ: os.Environ(), Data: output == "json",
		Etcdctl: []string{self, "ctl"}, Called: "etcdkit ctl",
	}
	tell := func(ev tour.Event) { e.progress(ev) }
	if output == "text" {
		tell = (&guide{env: e}).tell
		e.out.Printf("etcdkit tour on %s\n", p)
	}
	report, err := tour.Run(ctx, opts, lessons, tell)
	if err != nil {
		return interrupted(ctx, err)
	}
	if output == "json" {
		err = e.out.JSON(report)
	} else {
		e.summary(report)
	}
	if err == nil && !report.OK {
		err = exitError(ExitFailed)
	}
	return err
}

// progress says on stderr which lesson it is.
func (e *env) progress(ev tour.Event) {
	if ev.Kind == tour.Begins {
		e.out.Talkf("etcdkit tour: %s", ev.Lesson.Title)
	}
}

// guide prints the tour as it goes.
type guide struct {
	*env
	waited func() // ends the line of what is waited for
}

func (g *guide) tell(ev tour.Event) {
	p := g.out.Palette
	switch ev.Kind {
	case tour.Begins, tour.Skipped:
		title := ev.Lesson.Title
		g.out.Printf("\n%s %s %s\n", p.Paint("──", out.Faint), p.Paint(title, out.Bold), p.Paint(strings.Repeat("─", max(2, 76-len(title))), out.Faint))
		g.out.Linef(0, "%s", ev.Text)
		if ev.Kind == tour.Begins {
			g.out.Printf("\n")
		}
	case tour.Command:
		g.out.Printf("%s %s\n", p.Paint("$", out.Faint), p.Paint(ev.Text, out.Bold))
	case tour.Does:
		g.out.Linef(2, "  %s", ev.Text)
	case tour.Line:
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
	case tour.Ends:
	}
}

func (e *env) summary(r *tour.Report) {
	checks, failed := r.Checks()
	if failed > 0 {
		e.out.Printf("\n%d of %d checks FAILED in %.1fs.\n", failed, checks, r.Took)
		return
	}
	e.out.Printf("\nAll %d checks passed in %.1fs.\n\n", checks, r.Took)
	e.out.Printf("What next:\n")
	for _, next := range [][2]string{
		{"etcdkit race", "the sixth example live, with as many clients as you like"},
		{"etcdkit dev", "a cluster that stays; the examples find it at localhost:2379"},
		{"etcdkit dev kill leader", "in another terminal: watch it elect another, timed"},
		{"etcdkit dev run -- go test ./...", "your own tests on a cluster of their own"},
		{"examples/", "six programs under 80 lines, made to be copied"},
	} {
		e.out.Printf("  %-34s %s\n", next[0], next[1])
	}
}

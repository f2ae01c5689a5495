package cli

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/etcdkit/etcdkit/client"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/devctl"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/out"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/place"
)

// remote is what the commands that speak to a running cluster share.
type remote struct {
	port   int
	output string
}

func (r *remote) flags(cmd *cobra.Command) {
	portFlag(cmd, &r.port)
	cmd.Flags().StringVarP(&r.output, "output", "o", "text", "text or json")
}

func portFlag(cmd *cobra.Command, port *int) {
	cmd.Flags().IntVar(port, "cluster", 0, "client port of the cluster's first member, where several run")
}

func (r *remote) find(ctx context.Context) (*devctl.Client, error) {
	if err := checkOutput(r.output, "text", "json"); err != nil {
		return nil, err
	}
	return findDev(ctx, r.port)
}

// findDev finds the dev cluster that a command means: by its port, or with the endpoints of the environment.
func findDev(ctx context.Context, port int) (_ *devctl.Client, err error) {
	var endpoints []string
	if port == 0 && place.Variable() != "" {
		if endpoints, err = client.Endpoints(nil); err != nil {
			return nil, err
		}
	}
	return devctl.Find(ctx, port, endpoints)
}

// statusHint is for the endpoints of a dev cluster; it is "" for those of another one.
func (a *app) statusHint(ctx context.Context, endpoints []string) string {
	if _, err := devctl.Find(ctx, 0, endpoints); err != nil {
		return ""
	}
	return "; " + a.self + " dev status shows which are up"
}

func newDevFault(a *app, f devctl.Fault) *cobra.Command {
	var r remote
	cmd := &cobra.Command{
		Use: strings.TrimSpace(f.Verb + " " + f.Args), Short: f.Short, GroupID: groupFaults,
		Args: usageArgs(f.Check),
		Long: paragraphs(strings.ToUpper(f.Short[:1])+f.Short[1:]+".", f.More), Example: calls(f),
		RunE: func(cmd *cobra.Command, args []string) error { return a.fault(cmd.Context(), r, f.Verb, args) },
	}
	r.flags(cmd)
	return cmd
}

func (a *app) fault(ctx context.Context, r remote, verb string, args []string) error {
	k, err := r.find(ctx)
	if err != nil {
		return err
	}
	waits := time.AfterFunc(2*time.Second, func() { a.say("… still working: a graceful stop, or waiting for a leader") })
	change, err := k.Fault(ctx, verb, args)
	waits.Stop()
	if err != nil {
		return err
	}
	if r.output == "json" {
		return a.out.JSON(change)
	}
	return a.out.Resultf("%s", out.Alarm(a.out.Palette, change.String()))
}

// calls are the examples of a fault, as they are typed.
func calls(f devctl.Fault) string {
	var all []string
	for args := range strings.SplitSeq(f.Examples, "\n") {
		all = append(all, strings.TrimRight("  etcdkit dev "+f.Verb+" "+args, " "))
	}
	return strings.Join(all, "\n")
}

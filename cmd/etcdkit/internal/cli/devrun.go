package cli

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"strings"

	"github.com/spf13/cobra"

	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/child"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/devctl"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/place"
)

func newDevRun(a *app) *cobra.Command {
	var f devFlags
	cmd := &cobra.Command{
		Use:   "run [flags] -- CMD [ARG…]",
		Short: "run a command on a cluster that lives as long as it does",
		Long: paragraphs(
			`Starts a cluster, runs CMD with ETCDKIT_ENDPOINTS and ETCDCTL_ENDPOINTS set, and takes everything down when CMD ends. Other settings of a cluster in the environment (user, password, TLS files) are not passed on: they belong to another one. If the usual ports are taken it takes free ones and says so.`,
			`The exit code is CMD's own (128 + the signal if one ended it, or dev run before CMD was started), 125 for a failure of dev run, 126 or 127 if CMD cannot be executed. Signals are passed on to CMD. The first that asks for an end gives it 10 s; the second one kills it.`),
		Example:     "  etcdkit dev run -- go test ./...\n  etcdkit dev run --members 1 --any-port -- ./smoke.sh\n  etcdkit dev run -- sh -c 'etcdkit put a 1 && etcdkit get a'",
		Annotations: wrapper(),
		Args:        needs("which command? as in: etcdkit dev run -- go test ./...", 1, -1),
		RunE:        func(cmd *cobra.Command, args []string) error { return a.devRun(cmd.Context(), f, args) },
	}
	f.cluster(cmd)
	cmd.Flags().SetInterspersed(false)
	return cmd
}

func (a *app) devRun(ctx context.Context, f devFlags, args []string) (err error) {
	run, err := child.Command(args)
	if err != nil {
		return a.cannotRun(err)
	}
	opts, err := f.options(a.out.Logger(slog.LevelDebug))
	if err != nil {
		return err
	}
	removeDir, err := devctl.CheckDir() // before a cluster is there that it could not serve
	if err != nil {
		return err
	}
	defer removeDir()
	signals, stopSignals := child.Signals() // from now on none is missed
	defer stopSignals()
	takeBack := endOnSecondSignal()
	waiting, stopWaiting := child.UntilSignal(ctx, signals)
	defer func() { _ = stopWaiting() }() // what it returns has been looked at
	c, taken, err := place.Start(waiting, opts)
	takeBack()
	if err != nil {
		return endedBefore(stopWaiting(), err)
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	if taken != nil {
		a.out.Talkf("etcdkit: %s is held by %s; this cluster is at %s", taken.Addr, taken.Holder(), strings.Join(c.Endpoints(), ","))
	}
	stop, err := devctl.Serve(c, func(*cluster.Change) {})
	if err != nil {
		return err
	}
	defer stop()
	if ended := stopWaiting(); ended != nil { // signals are for the command from now on
		return endedBefore(ended, nil)
	}
	return a.runOn(c, run, signals)
}

// runOn runs a command on a cluster. Its exit code is the error.
func (a *app) runOn(c *cluster.Cluster, run *exec.Cmd, signals <-chan os.Signal) error {
	run.Env = place.OwnEnviron(os.Environ(), c.Endpoints())
	run.Stdin, run.Stdout, run.Stderr = a.stdin, a.out.Stdout(), a.out.Stderr()
	code, err := child.Run(run, signals)
	endOnNextSignal() // what is left to do is not worth waiting for
	switch {
	case err != nil:
		return a.cannotRun(err)
	case code != 0:
		return exitError(code)
	}
	return nil
}

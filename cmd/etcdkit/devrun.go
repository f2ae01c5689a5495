package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os/exec"
	"strings"

	"github.com/spf13/cobra"

	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/child"
)

func newDevRun() *cobra.Command {
	var f devFlags
	cmd := &cobra.Command{
		Use:   "run [flags] -- CMD [ARG…]",
		Short: "run a command on a cluster that lives as long as it does",
		Long: `Starts a cluster, runs CMD with ETCDKIT_ENDPOINTS and ETCDCTL_ENDPOINTS set, and takes
everything down when CMD ends. Other settings of a cluster in the environment (user, password,
TLS files) are not passed on: they belong to another one. If the usual ports are taken it takes
free ones and says so.

The exit code is CMD's own (128 + the signal if one ended it, 127 if CMD was not found). Signals
are passed on to CMD. The first that asks for an end gives it 10 s; the second one kills it.`,
		Example: "  etcdkit dev run -- go test ./...",
		Args:    usageArgs(needs("which command? as in: etcdkit dev run -- go test ./...", 1, -1)),
		RunE:    func(cmd *cobra.Command, args []string) error { return runOn(cmd, f, args) },
	}
	f.cluster(cmd)
	cmd.Flags().SetInterspersed(false)
	return cmd
}

func runOn(cmd *cobra.Command, f devFlags, args []string) (err error) {
	path, err := exec.LookPath(args[0])
	if err != nil {
		fmt.Fprintf(cmd.ErrOrStderr(), "etcdkit: %v\n", err)
		if errors.Is(err, fs.ErrPermission) {
			return exitError(126)
		}
		return exitError(127)
	}
	opts, err := f.options(slog.New(&lines{to: cmd.ErrOrStderr()}))
	if err != nil {
		return err
	}
	removeDir, err := checkControlDir() // before a cluster is there that it could not serve
	if err != nil {
		return err
	}
	defer removeDir()
	signals, stopSignals := child.Signals() // from now on none is missed
	defer stopSignals()
	takeBack := endOnSecondSignal()
	c, err := startAnywhere(cmd.Context(), opts, cmd.ErrOrStderr())
	takeBack()
	if err != nil {
		return interrupted(cmd.Context(), err)
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	stop, err := serveControl(c, func(*cluster.Change) {})
	if err != nil {
		return err
	}
	defer stop()
	if cmd.Context().Err() != nil {
		return exitError(exitInterrupted)
	}

	run := exec.Command(path, args[1:]...)
	run.Args[0] = args[0]
	run.Env = ownEnvironment(c.Endpoints())
	run.Stdin, run.Stdout, run.Stderr = cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr()
	err = child.Run(run, signals)
	endOnNextSignal() // what is left to do is not worth waiting for
	code, ran := child.ExitCode(err)
	switch {
	case !ran:
		return err
	case code != 0:
		return exitError(code)
	}
	return nil
}

// startAnywhere starts a cluster on the usual ports, or on free ones if they are taken, and says so.
func startAnywhere(ctx context.Context, opts *cluster.Options, talk io.Writer) (*cluster.Cluster, error) {
	c, err := cluster.Start(ctx, opts)
	var taken *cluster.PortTakenError
	if !errors.As(err, &taken) || taken.Kept {
		return c, err
	}
	free := *opts
	free.AnyPort = true
	if c, err = cluster.Start(ctx, &free); err == nil {
		fmt.Fprintf(talk, "etcdkit: %s is held by %s; this cluster is at %s\n", taken.Addr, taken.Holder(), strings.Join(c.Endpoints(), ","))
	}
	return c, err
}

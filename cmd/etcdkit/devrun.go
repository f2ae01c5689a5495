package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"

	"github.com/etcdkit/etcdkit/cluster"
)

// runGrace is what CMD gets to end after SIGTERM.
const runGrace = 10 * time.Second

func newDevRun() *cobra.Command {
	var f devFlags
	cmd := &cobra.Command{
		Use:   "run [flags] -- CMD [ARG…]",
		Short: "run a command on a cluster that lives as long as it does",
		Long: `Starts a cluster, runs CMD with ETCDKIT_ENDPOINTS and ETCDCTL_ENDPOINTS set, and takes
everything down. The exit code is CMD's own (128 + the signal if one ended it, 127 if CMD was
not found).`,
		Example: "  etcdkit dev run --any-port -- go test ./...",
		Args:    usageArgs(cobra.MinimumNArgs(1)),
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
	c, err := cluster.Start(cmd.Context(), opts)
	if err != nil {
		return interrupted(cmd.Context(), err)
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	stop, err := serveControl(c, func(*cluster.Change) {})
	if err != nil {
		return err
	}
	defer stop()

	endpoints := strings.Join(c.Endpoints(), ",")
	run := exec.Command(path, args[1:]...)
	run.Args[0] = args[0]
	run.Env = append(os.Environ(), "ETCDKIT_ENDPOINTS="+endpoints, "ETCDCTL_ENDPOINTS="+endpoints)
	run.Stdin, run.Stdout, run.Stderr = cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr()
	return wait(run)
}

// wait runs the command and passes SIGTERM on, and SIGINT where no terminal has sent it to
// the whole process group already.
func wait(run *exec.Cmd) error {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	if err := run.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- run.Wait() }() // ends with the command
	var force <-chan time.Time
	for {
		select {
		case err := <-ended:
			return exitCode(err)
		case s := <-signals:
			if s != os.Interrupt || !isatty.IsTerminal(os.Stdin.Fd()) {
				_ = run.Process.Signal(s)
			}
			if force != nil { // the second one
				_ = run.Process.Kill()
			}
			force = time.After(runGrace)
		case <-force:
			_ = run.Process.Kill()
		}
	}
}

// exitCode is the command's, as a shell tells it.
func exitCode(err error) error {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return exitError(128 + int(status.Signal()))
	}
	return exitError(exit.ExitCode())
}

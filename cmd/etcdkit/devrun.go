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

// runGrace is what CMD gets to end after a signal.
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
		Args:    usageArgs(needs("a command, as in: etcdkit dev run -- go test ./...", 1, -1)),
		RunE:    func(cmd *cobra.Command, args []string) error { return runOn(cmd, f, args) },
	}
	f.cluster(cmd)
	cmd.Flags().SetInterspersed(false)
	return cmd
}

func runOn(cmd *cobra.Command, f devFlags, args []string) (err error) {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, endingSignals()...)
	defer signal.Stop(signals)
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
	sockets, err := makeControlDir() // before a cluster is there that it could not serve
	if err != nil {
		return err
	}
	defer os.Remove(sockets) // refused while another cluster is in it
	c, err := cluster.Start(cmd.Context(), opts)
	if err != nil {
		return interrupted(cmd.Context(), err)
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	stop, err := serveControl(sockets, c, func(*cluster.Change) {})
	if err != nil {
		return err
	}
	defer stop()
	if cmd.Context().Err() != nil {
		return exitError(exitInterrupted)
	}

	endpoints := strings.Join(c.Endpoints(), ",")
	run := exec.Command(path, args[1:]...)
	run.Args[0] = args[0]
	run.Env = append(os.Environ(), "ETCDKIT_ENDPOINTS="+endpoints, "ETCDCTL_ENDPOINTS="+endpoints)
	run.Stdin, run.Stdout, run.Stderr = cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr()
	return wait(run, signals)
}

// wait runs the command and passes signals on. A terminal's Ctrl-C has reached the command
// already, and what it means is the command's to say: a REPL lives on. Of any other signal the
// first gives it runGrace to end, and a second none.
func wait(run *exec.Cmd, signals <-chan os.Signal) error {
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
			if s == os.Interrupt && isatty.IsTerminal(os.Stdin.Fd()) {
				continue
			}
			if force != nil {
				_ = run.Process.Kill()
				continue
			}
			_ = run.Process.Signal(s)
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

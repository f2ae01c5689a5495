package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"time"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/child"
)

// supervise starts a supervisor for a command that runs no longer than what is held: what names that in errors.
func (a *app) supervise(what string, grace time.Duration) (*child.Supervisor, error) {
	s, err := child.Supervise(&child.SuperviseOptions{Grace: grace, Stdin: a.stdin, Stdout: a.out.Stdout(), Stderr: a.out.Stderr()})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return s, nil
}

// runHeld runs a command while something is held, with more variables, and returns its exit code. The error is
// Supervisor.Run's, or has an exit code.
func (a *app) runHeld(what string, s *child.Supervisor, cmd *exec.Cmd, held child.Held, signals <-chan os.Signal, environ []string) (code int, err error) {
	cmd.Env = slices.Concat(os.Environ(), environ)
	code, err = s.Run(cmd, held, signals)
	var cannot *child.CannotRunError
	switch {
	case errors.As(err, &cannot):
		return cannot.Code, a.cannotRun(err)
	case errors.Is(err, child.ErrSupervisor):
		return code, fmt.Errorf("%s: %w; so the command was ended (exit code %d)", what, err, code)
	}
	return code, err
}

// endedByLoss is why a command was ended: ended is an ErrEnded, and why is lost if what it had says so.
func endedByLoss(what string, why, lost error, code int, ended error) error {
	if !errors.Is(why, lost) {
		why = fmt.Errorf("%s was about to be lost: etcd did not renew its lease in time", what)
	}
	if errors.Is(ended, child.ErrNotStarted) {
		return fmt.Errorf("%w; the command was not started", why)
	}
	return fmt.Errorf("%w; the command was ended (exit code %d)", why, code)
}

// releaseTimeout bounds a release after the command.
const releaseTimeout = 5 * time.Second

// released calls a release also when ctx has ended.
func released(ctx context.Context, release func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTimeout)
	defer cancel()
	return release(ctx)
}

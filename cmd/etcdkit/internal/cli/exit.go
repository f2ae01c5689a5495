package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/devctl"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/out"
	"github.com/etcdkit/etcdkit/internal/errtext"
)

// Exit codes: 0 done; dev run has its command's own.
const (
	ExitFailed      = 1
	ExitUsage       = 2
	ExitInterrupted = 130 // by any signal; a shell tells SIGINT so
	ExitUnread      = 141 // as a shell tells SIGPIPE: the reader of the output went away
)

// exitCode is that of a command, whose error it prints.
func (a *app) exitCode(ctx context.Context, cmd *cobra.Command, err error) int {
	if errors.Is(err, out.ErrUnread) || errors.Is(context.Cause(ctx), out.ErrUnread) {
		return ExitUnread
	}
	if err == nil {
		return 0
	}
	var code exitError
	if errors.As(err, &code) {
		if err := withoutExitCode(err); err != nil {
			a.out.Talkf("etcdkit: %s", a.oneLine(err))
		}
		return int(code)
	}
	a.out.Talkf("etcdkit: %s", a.oneLine(err))
	if isUsage(err) {
		line := cmd.UseLine()
		if cmd == cmd.Root() {
			line += " [command]"
		}
		a.out.Talkf("\nUsage:\n  %s\n\nSee '%s --help'.", line, cmd.CommandPath())
		return ExitUsage
	}
	return ExitFailed
}

// usageError is a mistake on the command line: it is answered with usage and exit code 2.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

func isUsage(err error) bool {
	var here *usageError
	var there *devctl.UsageError
	return errors.As(err, &here) || errors.As(err, &there)
}

// exitError carries the exit code of a command that etcdkit ran and that has said why itself.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// withoutExitCode is what else went wrong, next to an exitError.
func withoutExitCode(err error) error {
	var code exitError
	if !errors.As(err, &code) {
		return err
	}
	several, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return nil
	}
	var rest []error
	for _, e := range several.Unwrap() {
		rest = append(rest, withoutExitCode(e))
	}
	return errors.Join(rest...)
}

// interrupted makes an error that a signal caused exit code 130, whichever signal it was, without words.
func interrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return exitError(ExitInterrupted)
	}
	return err
}

// oneLine is the text of an error that may have several causes.
func (a *app) oneLine(err error) string {
	several, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return a.describe(err)
	}
	var texts []string
	for _, e := range several.Unwrap() {
		texts = append(texts, a.describe(e))
	}
	if err.Error() != errors.Join(several.Unwrap()...).Error() {
		return errtext.Text(err)
	}
	return strings.Join(texts, "; ")
}

// describe is the text of an error for a person: without the names of packages at its beginning, and with the
// nearest name to an unknown one.
func (a *app) describe(err error) string {
	var unknown *cluster.UnknownMemberError
	if errors.As(err, &unknown) {
		if near := nearest(unknown.Name, unknown.Known); near != "" {
			return fmt.Sprintf("%s; did you mean %s?", errtext.Text(err), near)
		}
	}
	var taken *cluster.PortTakenError
	if errors.As(err, &taken) && !taken.Kept {
		look := "stop it"
		if taken.Program == "etcdkit" {
			look = "a dev cluster? see " + a.self + " dev status"
		}
		return fmt.Sprintf("port %s is held by %s (%s); --any-port takes free ports", taken.Addr, taken.Holder(), look)
	}
	return errtext.Text(err)
}

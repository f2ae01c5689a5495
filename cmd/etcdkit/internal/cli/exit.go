package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/etcdkit/etcdkit/client"
	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/devctl"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/out"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/place"
	"github.com/etcdkit/etcdkit/internal/ask"
	"github.com/etcdkit/etcdkit/internal/errtext"
)

// Exit codes: 0 done. A wrapper has its command's own, as a shell has it, and else one from 75 on.
const (
	ExitFailed      = 1
	ExitUsage       = 2
	ExitNotFound    = 3 // no such key, a comparison failed, or no leader
	ExitUnreachable = 4 // no member answered, or none with a quorum
	ExitDegraded    = 5 // the cluster works, and something is wrong with it

	ExitNotAcquired = 75  // of what takes a lock: it was not acquired in time
	ExitLost        = 76  // of what has a lock or a term: it was lost
	ExitWrapper     = 125 // of wrappers: what is ExitFailed, ExitUsage or ExitUnreachable elsewhere

	ExitInterrupted = 130 // by any signal; a shell tells SIGINT so
	ExitUnread      = 141 // as a shell tells SIGPIPE: the reader of the output went away
)

// codeOf is the exit code of an error that has been printed.
func (a *app) codeOf(cmd *cobra.Command, err error) int {
	code := ExitFailed
	var with *codedError
	switch {
	case errors.As(err, &with):
		code = with.code
	case isUsage(err):
		code = ExitUsage
	}
	if a.isWrapper(cmd) && (code >= ExitFailed && code <= ExitUnreachable) {
		return ExitWrapper
	}
	return code
}

// codedError is an error with an exit code of its own.
type codedError struct {
	code int
	err  error
}

func (e *codedError) Error() string { return e.err.Error() }
func (e *codedError) Unwrap() error { return e.err }

// coded gives an error an exit code of its own.
func coded(code int, err error) error { return &codedError{code, err} }

// notFoundf is an error for what is not there, or is not as the caller wants it.
func notFoundf(format string, args ...any) error {
	return coded(ExitNotFound, fmt.Errorf(format, args...))
}

// settled tells whether an error has an exit code of its own.
func settled(err error) bool {
	var with *codedError
	var exit exitError
	return errors.As(err, &with) || errors.As(err, &exit) || isUsage(err)
}

// unreachable gives an error that says that etcd did not answer, or not with a quorum, its exit code.
func unreachable(err error) error {
	if settled(err) {
		return err
	}
	var unanswered *ask.Unanswered
	var context *place.ContextError
	switch {
	case errors.As(err, &context):
		return contextNotFound(err, context.Name, context.Known)
	case errors.Is(err, client.ErrInvalid), errors.Is(err, place.ErrPasswordInUser), errors.Is(err, place.ErrNoEndpoints):
		return &usageError{err}
	case errors.Is(err, client.ErrUnreachable), errors.As(err, &unanswered), errors.Is(err, rpctypes.ErrNoLeader):
		return coded(ExitUnreachable, err)
	}
	return err
}

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
	}
	return a.codeOf(cmd, err)
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
		return out.Printable(errtext.Text(err))
	}
	return strings.Join(texts, "; ")
}

// describe is the text of an error for a person: without the names of packages at its beginning, and with the
// nearest name to an unknown one. A member can have written it, or it can name a file: what a terminal would obey is
// escaped.
func (a *app) describe(err error) string { return out.Printable(a.explained(err)) }

func (a *app) explained(err error) string {
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

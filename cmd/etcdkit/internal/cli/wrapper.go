package cli

import (
	"context"
	"errors"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/etcdkit/etcdkit/client"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/child"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/out"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/place"
)

// wrapper marks a command that runs another one: its own failures have a code of their own.
func wrapper() map[string]string { return map[string]string{wraps: "always"} }

// wrapperWithCommand marks a command that runs another one where its arguments have "--".
func wrapperWithCommand() map[string]string { return map[string]string{wraps: "with a command"} }

const wraps = "wraps"

// isWrapper tells whether a command runs another one.
func (a *app) isWrapper(cmd *cobra.Command) bool {
	how := cmd.Annotations[wraps]
	return how == "always" || how != "" && slices.Contains(a.args, "--")
}

// splitCommand splits the arguments at "--": those before, and CMD, which may be missing.
func splitCommand(cmd *cobra.Command, args []string) (own, command []string, err error) {
	at := cmd.ArgsLenAtDash()
	switch {
	case at < 0:
		return args, nil, nil
	case len(args) == at:
		return nil, nil, usagef("the command after -- is missing")
	}
	return args[:at], args[at:], nil
}

// needsCommand is the Args of a wrapper: so many arguments, "--", and a command.
func needsCommand(ask string, before int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		own, command, err := splitCommand(cmd, args)
		switch {
		case len(args) == 0:
			return usagef("%s", ask)
		case err == nil && command == nil && nearestVerb(cmd, args[0]) != "":
			return usagef("unknown command %q for %q; did you mean %s?", args[0], cmd.CommandPath(), nearestVerb(cmd, args[0]))
		case err == nil && command == nil && len(args) <= before:
			return usagef("-- and the command are missing: %s", ask)
		case err == nil && command == nil:
			return usagef("-- is missing before the command %q: %s", args[before], ask)
		case err == nil && len(own) != before:
			if len(own) > before {
				return usagef("unexpected argument %q before --: %s", own[before], ask)
			}
			return usagef("the name before -- is missing: %s", ask)
		case err != nil:
			return usagef("%w: %s", err, ask)
		}
		return nil
	}
}

// retryPause is between the beginnings of two tries to reach etcd: one that answers with a refusal is not asked again at
// once.
const retryPause = time.Second

// reach connects, and tries again while no member answers, until ctx ends. say is told of the first failure; the error
// is that of the last try.
func (a *app) reach(ctx context.Context, f *place.Flags, say func(err error)) (*place.Place, error) {
	for said := false; ; said = true {
		again := time.After(retryPause)
		p, err := a.findAndSay(ctx, f)
		if err == nil || ctx.Err() != nil || !errors.Is(err, client.ErrUnreachable) {
			return p, err
		}
		if !said {
			say(err)
		}
		select {
		case <-again:
		case <-ctx.Done():
			return nil, err
		}
	}
}

// startup is the time before CMD.
type startup struct {
	place       *place.Place     // with a client; nil: not connected yet
	signals     <-chan os.Signal // nil: there is no CMD
	stop        func() error
	unsubscribe func()
}

// newStartup begins the time before a command: a signal ends the context that it returns. Without a command it is the
// program's own.
func newStartup(ctx context.Context, command []string) (waiting context.Context, s *startup) {
	if len(command) == 0 {
		return ctx, &startup{stop: func() error { return context.Cause(ctx) }, unsubscribe: func() {}}
	}
	s = new(startup)
	s.signals, s.unsubscribe = child.Forwarded() // from now on none is missed
	waiting, s.stop = child.UntilSignal(ctx, s.signals)
	return waiting, s
}

// end ends it: signals are for the command from now on. The error says that a signal came before, or is err.
func (s *startup) end(err error) error { return endedBefore(s.stop(), err) }

func (s *startup) close() {
	if s.place != nil {
		s.place.Close()
	}
	_ = s.stop() // it has been looked at, or something else went wrong
	s.unsubscribe()
}

// endedBefore is the error of a wrapper that ends before its command runs. ended is what UntilSignal's stop returned: a
// signal is 128 + its number, and counts before err, which it may have caused.
func endedBefore(ended, err error) error {
	var signal *child.SignalError
	switch {
	case errors.As(ended, &signal):
		return exitError(signal.Code())
	case errors.Is(ended, out.ErrUnread):
		return out.ErrUnread
	case ended != nil:
		return exitError(ExitInterrupted)
	}
	return err
}

// commandSignals passes signals on for a command. The context that it returns ends when one of them asks for an end, with
// a *child.SignalError; unlike the program's, it does not end with SIGHUP.
func commandSignals(ctx context.Context, from <-chan os.Signal) (until context.Context, signals <-chan os.Signal, stop func()) {
	until, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	passed := make(chan os.Signal, 64)
	stopping := make(chan struct{})
	var passing sync.WaitGroup
	passing.Go(func() { // ends with stop
		for {
			select {
			case s := <-from:
				if child.AsksToEnd(s) {
					cancel(child.EndedBy(s))
				}
				select {
				case passed <- s:
				default: // so many that one more makes no difference
				}
			case <-stopping:
				return
			}
		}
	})
	return until, passed, func() {
		close(stopping)
		passing.Wait()
		cancel(nil)
	}
}

// commandEnded is a command's end as an error: its exit code, why it did not run, or what else went wrong.
func (a *app) commandEnded(code int, err error) error {
	var cannot *child.CannotRunError
	var signal *child.SignalError
	switch {
	case errors.As(err, &cannot):
		return a.cannotRun(err)
	case errors.As(err, &signal):
		return exitError(signal.Code())
	case err != nil:
		return unreachable(err)
	case code != 0:
		return exitError(code)
	}
	return nil
}

// cannotRun says why a command does not run; the exit code is as a shell has it.
func (a *app) cannotRun(err error) error {
	a.out.Talkf("etcdkit: %v", err)
	var cannot *child.CannotRunError
	if !errors.As(err, &cannot) {
		return exitError(child.CodeCannotRun)
	}
	return exitError(cannot.Code)
}

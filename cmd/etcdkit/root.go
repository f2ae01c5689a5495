package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.etcd.io/etcd/api/v3/version"

	"github.com/etcdkit/etcdkit/cluster"
)

const (
	groupMain     = "main"
	groupUpstream = "upstream"
)

// Exit codes: 0 done, 1 failed, 2 wrong usage; dev run has its command's own.
const (
	exitFailed      = 1
	exitUsage       = 2
	exitInterrupted = 130 // as a shell tells SIGINT
	exitUnread      = 141 // as a shell tells SIGPIPE: whoever read the output went away
)

// usageError is a mistake on the command line: it is answered with usage and exit code 2.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// exitError carries the exit code of a command that etcdkit ran and that has said why itself.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// run is main without the process: it returns the exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return 0
	}
	if errors.Is(err, errUnread) {
		return exitUnread
	}
	var code exitError
	if errors.As(err, &code) {
		return int(code)
	}
	fmt.Fprintf(stderr, "etcdkit: %s\n", strings.TrimPrefix(describe(err), "cluster: "))
	var usage *usageError
	if errors.As(err, &usage) {
		line := cmd.UseLine()
		if cmd == root {
			line += " [command]"
		}
		fmt.Fprintf(stderr, "\nUsage:\n  %s\n\nSee '%s --help'.\n", line, cmd.CommandPath())
		return exitUsage
	}
	return exitFailed
}

// describe adds the nearest name to an unknown one.
func describe(err error) string {
	var unknown *cluster.UnknownMemberError
	if errors.As(err, &unknown) {
		if near := nearest(unknown.Name, unknown.Known); near != "" {
			return fmt.Sprintf("%v; did you mean %s?", err, near)
		}
	}
	var taken *cluster.PortTakenError
	if errors.As(err, &taken) && !taken.Kept {
		look := "stop it"
		if taken.Program == "etcdkit" {
			look = "a dev cluster? see etcdkit dev status"
		}
		return fmt.Sprintf("port %s is held by %s (%s); --any-port takes free ports", taken.Addr, taken.Holder(), look)
	}
	return err.Error()
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "etcdkit",
		Short: "Coordination for Go services on etcd",
		Long:  "Coordination for Go services on etcd: a tour of it, and clusters to develop on and to break.\n\nStart with 'etcdkit tour': a real three-member cluster and six examples, checked.",

		DisableFlagsInUseLine: true,
		Version:               versions(),
		Args:                  unknownCommand,
		RunE:                  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SilenceErrors:         true,
		SilenceUsage:          true,
	}
	root.SetVersionTemplate("{{.Version}}\n")
	root.AddGroup(&cobra.Group{ID: groupMain, Title: "Commands:"}, &cobra.Group{ID: groupUpstream, Title: "Upstream's programs, inside:"})
	root.SetHelpCommandGroupID(groupMain)
	root.SetCompletionCommandGroupID(groupMain)
	root.SetFlagErrorFunc(flagError)
	root.AddCommand(newTour(), newRace(), newDev(), newVersion())
	root.AddCommand(upstreamCommands()...)
	return root
}

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "the version of etcdkit and of the etcd inside it", GroupID: groupMain, Args: usageArgs(needs("", 0, 0)),
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), versions())
			return err
		},
	}
}

// versions names this build and the etcd inside it.
func versions() string {
	ours := "(devel)"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		ours = info.Main.Version
	}
	return fmt.Sprintf("etcdkit %s · etcd %s", ours, version.Version)
}

// flagError suggests the nearest flag for an unknown one.
func flagError(cmd *cobra.Command, err error) error {
	var invalid *pflag.InvalidValueError
	if errors.As(err, &invalid) {
		return usagef("--%s %q: want %s", invalid.GetFlag().Name, invalid.GetValue(), invalid.GetFlag().Value.Type())
	}
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return &usageError{err}
	}
	var known []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { known = append(known, f.Name) })
	if near := nearest(unknown.GetSpecifiedName(), known); near != "" {
		return usagef("%w; did you mean --%s?", err, near)
	}
	return &usageError{err}
}

// unknownCommand is the Args of a command that has subcommands and runs by itself, too.
func unknownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var known []string
	for _, c := range cmd.Commands() {
		known = append(known, c.Name())
	}
	if near := nearest(args[0], known); near != "" {
		return usagef("unknown command %q for %q; did you mean %s?", args[0], cmd.CommandPath(), near)
	}
	return usagef("unknown command %q for %q", args[0], cmd.CommandPath())
}

// needs is the Args of a command that takes from least to most arguments; most < 0 is any number. ask is
// the message where they are too few.
func needs(ask string, least, most int) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return errors.New(ask)
		case most >= 0 && len(args) > most:
			return fmt.Errorf("unexpected argument %q", args[most])
		}
		return nil
	}
}

// usageArgs makes a wrong number of arguments a usage error.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return &usageError{err}
		}
		return nil
	}
}

// nearest is the known name that was probably meant: the one with the fewest letters to change, two at most,
// or one that begins so.
func nearest(name string, known []string) string {
	name = strings.ToLower(name)
	best, least := "", 3
	for _, k := range known {
		d := distance(name, strings.ToLower(k))
		if d >= least && best == "" && name != "" && strings.HasPrefix(strings.ToLower(k), name) {
			best = k
		}
		if d < least {
			best, least = k, d
		}
	}
	return best
}

// distance is how many letters must be added, removed or changed.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

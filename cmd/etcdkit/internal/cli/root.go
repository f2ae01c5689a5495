// Package cli is the command line: one file for each command. A command turns its flags into a job of a library
// package or of a folder next to this one, and hands the result to package out.
package cli

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/out"
)

const (
	groupMain     = "main"
	groupUpstream = "upstream"
)

// app is what all commands have.
type app struct {
	out   *out.Printer
	stdin io.Reader
	self  string // how a person calls this program
}

// Run is the command without the process: it returns the exit code. ctx ends with a signal, or with
// out.ErrUnread.
func Run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{out: out.New(stdout, stderr), stdin: stdin, self: self()}
	root := newRoot(a)
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	return a.exitCode(ctx, cmd, err)
}

func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "etcdkit",
		Short: "Coordination for Go services on etcd",
		Long:  paragraphs("Coordination for Go services on etcd: a tour of it, and clusters to develop on and to break.", "Start with 'etcdkit tour': a real three-member cluster, six examples and a failover, checked."),

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
	root.SetUsageTemplate(wrapFlags(root.UsageTemplate()))
	root.AddCommand(newTour(a), newRace(a), newDev(a), newVersion(a))
	root.AddCommand(upstreamCommands()...)
	return root
}

// upstreamCommands are in the help only: the process has become one of them before it gets here.
func upstreamCommands() []*cobra.Command {
	return []*cobra.Command{
		{Use: "etcd [flags]", Short: "upstream's etcd server, unchanged", GroupID: groupUpstream, Run: func(*cobra.Command, []string) {}},
		{Use: "ctl COMMAND [flags]", Short: "upstream's etcdctl, which also finds a running dev cluster", GroupID: groupUpstream, Run: func(*cobra.Command, []string) {}},
	}
}

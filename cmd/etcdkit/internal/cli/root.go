// Package cli is the command line: one file for each command. A command turns its flags into a job of a library
// package or of a folder next to this one, and hands the result to package out. Wrappers (lock, elect, svc register,
// watch, env, render) hand a command of the user to package child; the others finish by themselves.
package cli

import (
	"context"
	"io"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/out"
)

const (
	groupMain     = "main"
	groupRun      = "run"
	groupLook     = "look"
	groupKeys     = "keys"
	groupSettings = "settings"
	groupUpstream = "upstream"
)

// app is what all commands have.
type app struct {
	out   *out.Printer
	stdin io.Reader
	self  string // how a person calls this program
	args  []string

	completing     *completion   // nil: the line is not being typed
	completeWithin time.Duration // bounds a completion
	asks           atomic.Bool   // confirm waits for a person
}

// Run is the command without the process: it returns the exit code. ctx ends with a signal, or with
// out.ErrUnread.
func Run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{out: out.New(stdout, stderr), stdin: stdin, self: self(), args: args, completeWithin: completeWithin}
	return a.run(ctx)
}

func (a *app) run(ctx context.Context) int {
	args := a.args
	typing := len(args) > 1 && (args[0] == cobra.ShellCompRequestCmd || args[0] == cobra.ShellCompNoDescRequestCmd) // by cobra's script for PowerShell
	if typing {
		a.completing = a.beginCompletion(false)
	}
	root := newRoot(a)
	root.SetArgs(args)
	root.SetIn(a.stdin)
	root.SetOut(a.out.Stdout())
	root.SetErr(a.out.Stderr())
	if typing {
		a.completeCommand(root)
	}
	cmd, err := root.ExecuteContextC(ctx)
	return a.exitCode(ctx, cmd, err)
}

// newRoot makes the command with those below it: the one that args call, or all of them where others have to be
// known, as for a help. A process runs one command, and to make all of them is a twentieth of what "get" takes.
func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "etcdkit",
		Short: "Coordination for services on etcd",
		Long:  paragraphs("Coordination for services on etcd: locks, elections, services and configuration from a shell; keys, leases and the state of a cluster; clusters to develop on and to break.", "Start with 'etcdkit tour': a real three-member cluster, six examples and a failover, checked. The other commands work on the etcd that you have: see 'etcdkit ctx --help'."),

		DisableFlagsInUseLine: true,
		Version:               versions(),
		Args:                  unknownCommand,
		RunE:                  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SilenceErrors:         true,
		SilenceUsage:          true,
	}
	root.SetVersionTemplate("{{.Version}}\n")
	all := groups()
	args := a.args
	if a.completing != nil {
		args = a.typedBefore()
	}
	called := calledAlone(all, args)
	for _, g := range all {
		root.AddGroup(&cobra.Group{ID: g.id, Title: g.title + ":"})
		for _, m := range g.commands {
			if called == "" || m.name == called {
				c := m.command(a)
				c.GroupID = g.id
				root.AddCommand(c)
			}
		}
	}
	if called == "" {
		root.SetHelpCommandGroupID(groupSettings)
		root.AddCommand(newClusterTopic())
		root.InitDefaultHelpCmd()
		refuseUnknownTopics(root)
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetFlagErrorFunc(a.flagError)
	root.SetUsageFunc(printUsage)
	return root
}

// calledAlone is the name of the command that args call, if it needs no other one to be there; or "".
func calledAlone(all []group, args []string) string {
	if len(args) == 0 || args[0] == "man" { // which describes all of them
		return ""
	}
	for _, g := range all {
		for _, c := range g.commands {
			if c.name == args[0] {
				return c.name
			}
		}
	}
	return ""
}

// group is a part of the root's help.
type group struct {
	id, title string
	commands  []maker
}

// maker makes a command of the root.
type maker struct {
	name    string
	command func(a *app) *cobra.Command
}

// groups are all commands.
func groups() []group {
	return []group{
		{groupMain, "Start here", []maker{
			{"tour", newTour},
			{"race", newRace},
			{"dev", newDev},
		}},
		{groupRun, "Run a command with a lock, as leader, as a service, or on changes", []maker{
			{"lock", newLock},
			{"svc", newSvc},
			{"watch", newWatch},
			{"env", newEnv},
			{"render", newRender},
			{"elect", newElect},
		}},
		{groupLook, "See what is going on", []maker{
			{"status", newStatus},
			{"doctor", newDoctor},
			{"top", newTop},
			{"lease", newLease},
		}},
		{groupKeys, "Keys", []maker{
			{"get", newGet},
			{"put", newPut},
			{"del", newDel},
			{"ls", newLs},
			{"tree", newTree},
			{"history", newHistory},
			{"undelete", newUndelete},
			{"export", newExport},
			{"import", newImport},
			{"copy", newCopy},
			{"snapshot", newSnapshot},
		}},
		{groupSettings, "Settings and help", []maker{
			{"ctx", newCtx},
			{"completion", newCompletion},
			{"man", newMan},
			{"version", newVersion},
		}},
		{groupUpstream, "Upstream's programs, inside", []maker{
			{"etcd", upstream("etcd [flags]", "upstream's etcd server, unchanged")},
			{"ctl", upstream("ctl COMMAND [flags]", "upstream's etcdctl, on the cluster of the other commands")},
		}},
	}
}

// upstream makes a command that is in the help only: the process has become it before it gets here.
func upstream(use, short string) func(*app) *cobra.Command {
	return func(*app) *cobra.Command {
		return &cobra.Command{Use: use, Short: short, Run: func(*cobra.Command, []string) {}}
	}
}

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/etcdkit/etcdkit/cluster"
)

// fault is one verb of etcdkit dev: the command line checks its arguments and sends them, the
// running cluster carries it out.
type fault struct {
	verb, args, short string
	check             cobra.PositionalArgs
	do                func(ctx context.Context, c *cluster.Cluster, args []string) (*cluster.Change, error)
}

// onMember makes a fault of a method that takes a member.
func onMember(method func(*cluster.Cluster, context.Context, string) (*cluster.Change, error)) func(context.Context, *cluster.Cluster, []string) (*cluster.Change, error) {
	return func(ctx context.Context, c *cluster.Cluster, args []string) (*cluster.Change, error) {
		return method(c, ctx, args[0])
	}
}

var faults = []fault{
	{"kill", "MEMBER", "SIGKILL a member", needs("a member", 1, 1), onMember((*cluster.Cluster).Kill)},
	{"stop", "MEMBER", "end a member gracefully", needs("a member", 1, 1), onMember((*cluster.Cluster).Stop)},
	{"start", "MEMBER", "start a stopped, killed or failed member again", needs("a member", 1, 1), onMember((*cluster.Cluster).Start)},
	{"restart", "MEMBER", "stop and start a member", needs("a member", 1, 1), onMember((*cluster.Cluster).Restart)},
	{"pause", "MEMBER", "SIGSTOP a member: there, and silent", needs("a member", 1, 1), onMember((*cluster.Cluster).Pause)},
	{"resume", "MEMBER", "SIGCONT a paused member", needs("a member", 1, 1), onMember((*cluster.Cluster).Resume)},
	{"isolate", "MEMBER", "cut a member off from the others; clients reach it", needs("a member", 1, 1), onMember((*cluster.Cluster).Isolate)},
	{"blackhole", "MEMBER", "cut a member off from the others and from clients", needs("a member", 1, 1), onMember((*cluster.Cluster).Blackhole)},
	{"partition", "A[,B] [C,…]", "divide the members into groups; the rest is one more; replaces earlier cuts between members", needs("at least one group of members, such as etcd1,etcd2", 1, -1), doPartition},
	{"heal", "", "end all partitions and latency", needs("nothing", 0, 0), doHeal},
	{"latency", "MEMBER DURATION", "delay all traffic of a member, each way; 0 ends it", latencyArgs, doLatency},
	{"move-leader", "[MEMBER]", "hand leadership to a member, or to any other", needs("a member", 0, 1), doMoveLeader},
}

func doPartition(ctx context.Context, c *cluster.Cluster, args []string) (*cluster.Change, error) {
	var groups [][]string
	for _, a := range args {
		groups = append(groups, strings.Split(a, ","))
	}
	return c.Partition(ctx, groups...)
}

func doHeal(ctx context.Context, c *cluster.Cluster, _ []string) (*cluster.Change, error) {
	return c.Heal(ctx)
}

func doMoveLeader(ctx context.Context, c *cluster.Cluster, args []string) (*cluster.Change, error) {
	return c.MoveLeader(ctx, strings.Join(args, ""))
}

func latencyArgs(cmd *cobra.Command, args []string) error {
	if err := needs("a member and a duration, such as etcd1 200ms", 2, 2)(cmd, args); err != nil {
		return err
	}
	if d, err := time.ParseDuration(args[1]); err != nil || d < 0 {
		return fmt.Errorf("latency %q: want a duration of 0 or more, such as 200ms", args[1])
	}
	return nil
}

func doLatency(ctx context.Context, c *cluster.Cluster, args []string) (*cluster.Change, error) {
	d, err := time.ParseDuration(args[1])
	if err != nil {
		return nil, err
	}
	return c.Latency(ctx, args[0], d)
}

// remote is what the commands that speak to a running cluster share.
type remote struct {
	port   int
	output string
}

func (r *remote) flags(cmd *cobra.Command) {
	cmd.Flags().IntVar(&r.port, "cluster", 0, "client port of the cluster's first member, where several run")
	cmd.Flags().StringVarP(&r.output, "output", "o", "text", "text or json")
}

func (r *remote) find(ctx context.Context) (control, error) {
	if err := checkOutput(r.output, "text", "json"); err != nil {
		return control{}, err
	}
	return findControl(ctx, r.port)
}

// checkOutput checks -o; the first of known is the default.
func checkOutput(got string, known ...string) error {
	for _, k := range known {
		if got == k {
			return nil
		}
	}
	return usagef("output %q: want %s", got, strings.Join(known, " or "))
}

func (f fault) command() *cobra.Command {
	var r remote
	cmd := &cobra.Command{
		Use: strings.TrimSpace(f.verb + " " + f.args), Short: f.short, GroupID: groupFaults, Args: usageArgs(f.check),
		RunE: func(cmd *cobra.Command, args []string) error {
			k, err := r.find(cmd.Context())
			if err != nil {
				return err
			}
			patience := time.AfterFunc(2*time.Second, func() { fmt.Fprintln(cmd.ErrOrStderr(), "… waiting for what comes of it") })
			change, err := k.fault(cmd.Context(), f.verb, args)
			patience.Stop()
			if err != nil {
				return err
			}
			if r.output == "json" {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(change)
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), change)
			return err
		},
	}
	r.flags(cmd)
	return cmd
}

func newStatus() *cobra.Command {
	var r remote
	cmd := &cobra.Command{
		Use: "status", Short: "the members of the running cluster and what it can lose", Args: usageArgs(needs("nothing", 0, 0)),
		RunE: func(cmd *cobra.Command, _ []string) error {
			k, err := r.find(cmd.Context())
			if err != nil {
				return err
			}
			s, err := k.status(cmd.Context())
			if err != nil {
				return err
			}
			if r.output == "json" {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(s)
			}
			printMembers(cmd.OutOrStdout(), s)
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "\n  %s\n  %s\n", s.Quorum, exportLine(s))
			return err
		},
	}
	r.flags(cmd)
	return cmd
}

func newLogs() *cobra.Command {
	var r remote
	cmd := &cobra.Command{
		Use: "logs MEMBER", Short: "print a member's log, one JSON object a line", Args: usageArgs(needs("a member", 1, 1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			k, err := findControl(cmd.Context(), r.port)
			if err != nil {
				return err
			}
			s, err := k.status(cmd.Context())
			if err != nil {
				return err
			}
			path, err := logOf(s, args[0])
			if err != nil {
				return err
			}
			f, err := os.Open(path)
			if err != nil {
				return fmt.Errorf("log of %s: %w", args[0], err)
			}
			defer f.Close()
			_, err = io.Copy(cmd.OutOrStdout(), f)
			return err
		},
	}
	cmd.Flags().IntVar(&r.port, "cluster", 0, "client port of the cluster's first member, where several run")
	return cmd
}

// logOf is the log file of a member, which may be named "leader".
func logOf(s cluster.Status, name string) (string, error) {
	if name == "leader" {
		if name = s.Quorum.Leader; name == "" {
			return "", cluster.ErrNoLeader
		}
	}
	var known []string
	for _, m := range s.Members {
		if m.Name == name {
			return m.Log, nil
		}
		known = append(known, m.Name)
	}
	return "", &usageError{&cluster.UnknownMemberError{Name: name, Known: append(known, "leader")}}
}

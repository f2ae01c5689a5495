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
	more              string // for its help: what short leaves out
	examples          string // arguments, one call a line
}

// members are the names that a fault takes.
const members = "MEMBER is a name (etcd1), leader, follower (the first one that is up and does not lead), or all."

// onMember makes a fault of a method that takes a member. No member is all of them.
func onMember(method func(*cluster.Cluster, context.Context, string) (*cluster.Change, error)) func(context.Context, *cluster.Cluster, []string) (*cluster.Change, error) {
	return func(ctx context.Context, c *cluster.Cluster, args []string) (*cluster.Change, error) {
		if len(args) == 0 { // what undoes a fault undoes it everywhere
			return method(c, ctx, "all")
		}
		return method(c, ctx, args[0])
	}
}

var (
	aMember   = needs("which member? etcd1, etcd2, …, leader, follower or all", 1, 1)
	anyMember = needs("", 0, 1)
)

var faults = []fault{
	{"kill", "MEMBER", "SIGKILL a member", aMember, onMember((*cluster.Cluster).Kill),
		"The process gets no chance to say goodbye, as when a machine loses its power. Its data stays: etcdkit\ndev start brings it back. " + members, "leader\netcd2\nall"},
	{"stop", "MEMBER", "end a member gracefully", aMember, onMember((*cluster.Cluster).Stop),
		"A leader hands over first, so the others go on without an election. " + members, "leader\netcd2"},
	{"start", "[MEMBER]", "start a stopped, killed or failed member again, or all of them", anyMember, onMember((*cluster.Cluster).Start),
		"It comes back with its data. Without a name: every member that is down.", "\netcd2"},
	{"restart", "MEMBER", "stop and start a member", aMember, onMember((*cluster.Cluster).Restart), members, "follower\nall"},
	{"pause", "MEMBER", "SIGSTOP a member: there, and silent", aMember, onMember((*cluster.Cluster).Pause),
		"Its connections stay open and nobody answers, as in a long garbage collection or a frozen virtual\nmachine. etcdkit dev resume ends it. " + members, "leader\nfollower\nall"},
	{"resume", "[MEMBER]", "SIGCONT a paused member, or all of them", anyMember, onMember((*cluster.Cluster).Resume),
		"Without a name: every member that is paused.", "\netcd2"},
	{"isolate", "MEMBER", "cut a member off from the others; clients reach it", aMember, onMember((*cluster.Cluster).Isolate),
		"The others elect a leader of their own if it led. Clients still reach the member, which answers only\nserializable reads (etcdctl get --consistency=s), with what it last knew. etcdkit dev heal ends it.\n" + members, "leader\netcd3"},
	{"blackhole", "MEMBER", "cut a member off from the others and from clients", aMember, onMember((*cluster.Cluster).Blackhole),
		"Nothing is reset: connections stay open and silent, as when a network cable is pulled. etcdkit dev heal\nends it. " + members, "leader\nfollower"},
	{"partition", "A[,B] [C,…]", "divide the members into groups; the rest is one more; replaces earlier cuts between members", needs("which members? at least one group, such as etcd1,etcd2", 1, -1), doPartition,
		"Members of different groups cannot reach one another; clients reach all. Members that no group names are\none more group. etcdkit dev heal ends it. A group may name the leader.", "leader\netcd1,etcd2\netcd1 etcd2 etcd3"},
	{"heal", "", "end all partitions and latency", needs("", 0, 0), doHeal,
		"Paused and stopped members stay as they are: see etcdkit dev resume and etcdkit dev start.", ""},
	{"latency", "MEMBER DURATION", "delay all traffic of a member, each way; 0 ends it", latencyArgs, doLatency,
		"To and from the other members and the clients. 250ms and more can cost a leader its followers. " + members, "leader 200ms\nall 20ms\nall 0"},
	{"move-leader", "[MEMBER]", "hand leadership to a member, or to any other", anyMember, doMoveLeader,
		"Without a name: to any other member that is up.", "\netcd3"},
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
	if err := needs("which member, and how long? such as: etcd1 200ms", 2, 2)(cmd, args); err != nil {
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
		Long: strings.ToUpper(f.short[:1]) + f.short[1:] + ".\n" + f.more, Example: f.calls(),
		RunE: func(cmd *cobra.Command, args []string) error {
			k, err := r.find(cmd.Context())
			if err != nil {
				return err
			}
			patience := time.AfterFunc(2*time.Second, func() { fmt.Fprintln(cmd.ErrOrStderr(), "… waiting until the members agree on a leader") })
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

// calls are the examples, as they are typed.
func (f fault) calls() string {
	var all []string
	for args := range strings.SplitSeq(f.examples, "\n") {
		all = append(all, strings.TrimRight("  etcdkit dev "+f.verb+" "+args, " "))
	}
	return strings.Join(all, "\n")
}

func newStatus() *cobra.Command {
	var r remote
	cmd := &cobra.Command{
		Use: "status", Short: "the members of the running cluster and what it can lose", Args: usageArgs(needs("", 0, 0)),
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
		Use: "logs MEMBER", Short: "print a member's log, one JSON object a line", Args: usageArgs(needs("which member? etcd1, etcd2, … or leader", 1, 1)),
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
func logOf(s cluster.State, name string) (string, error) {
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

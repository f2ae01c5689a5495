package devctl

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/etcdkit/etcdkit/cluster"
)

// Fault is one verb of etcdkit dev: the command line checks its arguments and sends them, the
// running cluster carries it out.
type Fault struct {
	Verb, Args, Short string
	Check             func(args []string) error
	do                func(ctx context.Context, c *cluster.Cluster, args []string) (*cluster.Change, error)
	More              string // for its help: what Short leaves out
	Examples          string // arguments, one call a line
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

// Faults are all of them, in the order of the help.
func Faults() []Fault {
	aMember, anyMember := Needs("which member? etcd1, etcd2, …, leader, follower or all", 1, 1), Needs("", 0, 1)
	return []Fault{
		{"kill", "MEMBER", "SIGKILL a member", aMember, onMember((*cluster.Cluster).Kill),
			"The process ends at once and cannot hand over, as when a machine loses power. Its data stays: etcdkit dev start brings it back. " + members, "leader\netcd2\nall"},
		{"stop", "MEMBER", "end a member gracefully", aMember, onMember((*cluster.Cluster).Stop),
			"A leader hands leadership to another member first, so the others need not wait until they notice. " + members, "leader\netcd2\nall"},
		{"start", "[MEMBER]", "start a member that is down again, or all of them", anyMember, onMember((*cluster.Cluster).Start),
			"It comes back with its data. Without a name: every member that is down.", "\netcd2\nall -o json"},
		{"restart", "MEMBER", "stop and start a member", aMember, onMember((*cluster.Cluster).Restart), members, "follower\nleader\nall"},
		{"pause", "MEMBER", "SIGSTOP a member: connected, and silent", aMember, onMember((*cluster.Cluster).Pause),
			"Its connections stay open and it does not answer, as in a long garbage collection or a frozen virtual machine. etcdkit dev resume ends it. " + members, "leader\nfollower\nall"},
		{"resume", "[MEMBER]", "SIGCONT a paused member, or all of them", anyMember, onMember((*cluster.Cluster).Resume),
			"Without a name: every member that is paused.", "\netcd2\n-o json"},
		{"isolate", "MEMBER", "cut a member off from the others; clients reach it", aMember, onMember((*cluster.Cluster).Isolate),
			"The others elect another leader if it led. Clients still reach the member, which answers only serializable reads (etcdkit get --consistency=s), from what it last knew. etcdkit dev heal ends it. " + members, "leader\netcd3\nfollower -o json"},
		{"blackhole", "MEMBER", "cut a member off from the others and from clients", aMember, onMember((*cluster.Cluster).Blackhole),
			"Nothing is reset: connections stay open and silent, as when a network cable is pulled. etcdkit dev heal ends it. " + members, "leader\nfollower\netcd1"},
		{"partition", "A[,B] [C,…]", "divide the members into groups that cannot reach one another", Needs("which members? at least one group, such as etcd1,etcd2", 1, -1), doPartition,
			"Clients reach all of them. It replaces earlier cuts between members. Members that no group names are one more group. etcdkit dev heal ends it. A group may name the leader.", "leader\netcd1,etcd2\netcd1 etcd2 etcd3"},
		{"heal", "", "end all partitions and latency", Needs("", 0, 0), doHeal,
			"Paused and stopped members stay as they are: see etcdkit dev resume and etcdkit dev start.", "\n-o json\n--cluster 22379"},
		{"latency", "MEMBER DURATION", "delay all traffic of a member, each way; 0 ends it", latencyArgs, doLatency,
			"To and from the other members and the clients. 250ms and more can cost a leader its followers. " + members, "leader 200ms\nall 20ms\nall 0"},
		{"move-leader", "[MEMBER]", "hand leadership to a member, or to any other", anyMember, doMoveLeader,
			"Without a name: to any other member that is up.", "\netcd3\n-o json"},
	}
}

// Needs checks that there are least to most arguments; most < 0 is any number. ask is the message where they
// are too few.
func Needs(ask string, least, most int) func(args []string) error {
	return func(args []string) error {
		switch {
		case len(args) < least:
			return errors.New(ask)
		case most >= 0 && len(args) > most:
			return fmt.Errorf("unexpected argument %q", args[most])
		}
		return nil
	}
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

func latencyArgs(args []string) error {
	if err := Needs("which member, and how long? such as: etcd1 200ms", 2, 2)(args); err != nil {
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

package cli

import (
	"os"

	"github.com/spf13/cobra"
)

const electExamples = `  etcdkit elect jobs/scheduler -- ./scheduler
  etcdkit elect jobs/scheduler 10.0.0.5:8080 -- ./scheduler --listen :8080
  etcdkit elect --ttl 5s --kill-grace 1s db/primary -- ./promote.sh`

func newElect(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "elect NAME [VALUE] [flags] -- CMD [ARG…]",
		Short: "run a command while this process leads, again after each loss",
		Long: paragraphs(
			`Is a candidate in the election NAME, and runs CMD when it is elected. When the term is lost it ends CMD, is a candidate again, and runs CMD again when it is elected the next time. When CMD ends by itself, it resigns and ends with CMD's exit code. VALUE is what others see of the leader ('etcdkit elect get NAME'), an address, say; by default the name of this host. Elections of one name are one, also those of etcdctl and of programs that use clientv3.`,
			`CMD never outlives the term, as with 'etcdkit lock': its process group gets SIGTERM and, --kill-grace later, SIGKILL before etcd can elect another candidate, and a supervisor process sees to that also when this process is killed or stopped. See 'etcdkit lock --help' for what is guaranteed, and what is not.`,
			`CMD has stdin and the environment as they are, and in addition ETCDKIT_ELECT_KEY, ETCDKIT_TOKEN (the fencing token, which grows with each term) and ETCDKIT_LEASE (hexadecimal). While CMD runs, signals are passed on to its group. A signal while another candidate leads withdraws the candidacy. After a signal that asks for an end (SIGINT, SIGTERM, SIGQUIT), CMD is not run again. If etcd is away at the start, elect says so and waits for it.`,
			`Exit codes: CMD's own, 128 + N if signal N ended it or the candidacy; 76 the term was lost after a signal that asked for an end, or before CMD ended by itself; 125 this command failed; 126 or 127 CMD cannot be executed.`),
		Example:     electExamples,
		Annotations: wrapper(),
	}
	a.runsElected(cmd)
	cmd.AddCommand(newElectRun(a))
	cmd.AddCommand(notNames([]*cobra.Command{newElectGet(a), newElectWatch(a), newElectResign(a), newElectLs(a)})...)
	return cmd
}

func newElectRun(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run NAME [VALUE] [flags] -- CMD [ARG…]",
		Short: "the same for any NAME, also one that is a command of elect",
		Long: paragraphs(
			`Is "etcdkit elect NAME -- CMD" in full, and the way to an election whose name is a command of elect, as "ls" is. Scripts whose names come from elsewhere use this one. See 'etcdkit elect --help' for what is guaranteed.`),
		Example: `  etcdkit elect run ls -- ./list.sh
  etcdkit elect run "$NAME" -- ./leader.sh
  etcdkit elect run "$NAME" "$POD_IP" -- ./leader.sh`,
		Annotations: wrapper(),
	}
	a.runsElected(cmd)
	return cmd
}

// runsElected gives a command the flags of elect, and lets it run its command while this process leads.
func (a *app) runsElected(cmd *cobra.Command) {
	f := new(lockFlags)
	f.addHeld(cmd, "term", "how long the term lasts on a machine that is gone")
	cluster := clusterFlags(cmd)
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		before := max(1, min(cmd.ArgsLenAtDash(), 2))
		return needsCommand("which election, and which command? as in: etcdkit elect jobs/scheduler -- ./scheduler", before)(cmd, args)
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := f.check(); err != nil {
			return err
		}
		dash := cmd.ArgsLenAtDash()
		r := &electRun{a: a, flags: f, name: args[0], value: hostName(), argv: args[dash:]}
		if dash == 2 {
			r.value = args[1]
		}
		return r.run(cmd.Context(), cluster)
	}
}

// hostName is this machine's name, as others see it.
func hostName() string {
	name, err := os.Hostname()
	if err != nil {
		return "unknown"
	}
	return name
}

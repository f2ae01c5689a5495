package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/child"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/place"
)

// lockFlags say which kind of lock a command takes, and for how long. A command has those of them that it adds.
type lockFlags struct {
	timeout  time.Duration
	nonblock bool
	ttl      time.Duration
	grace    time.Duration
	n        int
	shared   bool
	every    time.Duration

	set func(flag string) bool // is it on the command line?
}

// addWait adds the flags of what takes a lock.
func (f *lockFlags) addWait(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.DurationVar(&f.timeout, "timeout", 0, "give up after this time, with exit code 75 (default: wait)")
	flags.BoolVar(&f.nonblock, "nonblock", false, "do not wait: exit code 75 if the lock is taken")
	flags.IntVar(&f.n, "n", 0, "let up to N hold it at a time: a semaphore. Where the queue has several N, the smallest one counts")
	flags.BoolVar(&f.shared, "shared", false, "the read side: with other --shared, without any other holder")
	f.set = flags.Changed
}

// addHeld adds the flags of what runs a command while it has something: the lock, or the term.
func (f *lockFlags) addHeld(cmd *cobra.Command, something, ttl string) {
	flags := cmd.Flags()
	flags.DurationVar(&f.ttl, "ttl", 10*time.Second, ttl+"; 2s at least, whole seconds")
	flags.DurationVar(&f.grace, "kill-grace", 0, "time between SIGTERM and SIGKILL when the "+something+" is lost (default: a third of --ttl, which is also the most, and 5s at most)")
	f.set = flags.Changed
}

// Limits of the flags.
const (
	mostHolders = 10_000
	mostGrace   = 5 * time.Second // of the default
	graceOf     = 3               // a lease is renewed each third of its TTL; the last third is the command's
)

// check refuses what contradicts itself, and fills in the grace.
func (f *lockFlags) check() error {
	switch {
	case f.set("n") && f.shared:
		return usagef("--n and --shared exclude one another: --n lets N holders in, --shared any number of readers")
	case f.set("n") && (f.n < 1 || f.n > mostHolders):
		return usagef("--n %d: want 1 to %d", f.n, mostHolders)
	case f.set("every") && (f.set("n") || f.shared):
		return usagef("--every and --n or --shared exclude one another: one run in a period needs the lock alone")
	case f.nonblock && f.set("timeout"):
		return usagef("--nonblock and --timeout exclude one another: --nonblock does not wait at all")
	case f.set("timeout") && f.timeout <= 0:
		return usagef("--timeout %v: want more than 0; --nonblock does not wait", f.timeout)
	case f.grace < 0:
		return usagef("--kill-grace %v: want 0 (SIGKILL at once) or more", f.grace)
	}
	if f.set("every") {
		if err := checkTTL("every", f.every); err != nil {
			return err
		}
	}
	if err := checkTTL("ttl", f.ttl); err != nil {
		return err
	}
	most := f.ttl / graceOf
	if !f.set("kill-grace") {
		f.grace = min(most, mostGrace)
	}
	if f.grace > most {
		return usagef("--kill-grace %v does not fit into --ttl %v: want %v at most, a third of the TTL, or --ttl %v", f.grace, f.ttl, most.Round(time.Millisecond), roundUp(graceOf*f.grace))
	}
	return nil
}

// checkTTL refuses the TTL of a flag that etcd would not grant as it is: it grants whole seconds, 2 at least by default.
func checkTTL(flag string, ttl time.Duration) error {
	if ttl < 2*time.Second || ttl%time.Second != 0 {
		return usagef("--%s %v: want whole seconds, at least 2s", flag, ttl)
	}
	return nil
}

func roundUp(d time.Duration) time.Duration {
	return (d + time.Second - 1).Truncate(time.Second)
}

const lockExamples = `  etcdkit lock jobs/nightly -- ./nightly.sh --all
  etcdkit lock --nonblock jobs/nightly -- ./nightly.sh  # or exit code 75
  etcdkit lock --n 3 --timeout 10m deploy/web -- ./restart.sh
  etcdkit lock --every 4m jobs/report -- ./report.sh  # by cron, each 5 minutes`

func newLock(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "lock NAME [flags] -- CMD [ARG…]",
		Short: "run a command while a lock is held, and never longer",
		Long: paragraphs(
			`Waits for the lock NAME in etcd, runs CMD, and releases the lock when CMD and all processes of its group have ended. Locks of one name exclude one another, also those of etcdctl and of programs that use clientv3, and are given in the order of asking. While it waits it says which process has the lock. A signal then leaves the queue at once.`,
			`CMD never outlives the lock. If the lock cannot be renewed in time, CMD's process group gets SIGTERM, --kill-grace later SIGKILL, and that before etcd can give the lock to another process. If the lock is certainly lost (its lease was revoked, its key deleted), SIGTERM comes at once. A small supervisor process, started before the lock is held, sees to that also when this process is killed or stopped. What is left of the group when CMD ends (as in sh -c 'a; b &') gets SIGTERM and SIGKILL in the same way, before the lock is released.`,
			`What is not guaranteed: a process that has left the group (setsid, a daemon) is out of reach. When this process and its supervisor are both killed or stopped, nothing ends CMD; nor does anything while the whole machine stands still. For these cases give the token, which grows with each holder, to what CMD writes to, and have it refuse a smaller one than it has seen.`,
			`CMD has stdin and the environment as they are, and in addition ETCD_LOCK_KEY and ETCD_LOCK_REV (the variables of etcdctl lock), ETCDKIT_TOKEN (the fencing token) and ETCDKIT_LEASE (hexadecimal). ETCD_LOCK_REV is the token, too: the revision at which this process entered the queue. After a wait etcdctl gives a later one, at which it saw that it has the lock. All signals that can be passed on are passed on to its group. Ctrl-Z stops CMD and this process; a stop that outlasts the TTL loses the lock, and CMD is ended, not continued.`,
			`With --every CMD runs once per period in the whole fleet, and not in a loop: a timer asks again. The period counts from the start of a run with exit code 0. If the last such run began less than a period ago, this command says so and ends with exit code 0. A run that fails or dies is repeated by the next process that asks. Take a period that is a little shorter than the timer's.`,
			`If etcd does not answer at the start, lock tries for --dial-timeout (exit code 125), and with --timeout until that is over (75): a run by cron ends in any case. With --nonblock it is 125, too, if etcd does not say within a few seconds whether the lock is taken, as without a quorum. Otherwise it waits until there is a quorum, and says so.`,
			`Exit codes: CMD's own, 128 + N if signal N ended it or the wait; 75 not acquired; 76 the lock was lost; 125 this command failed; 126 or 127 CMD cannot be executed.`),
		Example:     lockExamples,
		Annotations: wrapper(),
	}
	a.runsLocked(cmd)
	cmd.AddCommand(newLockRun(a))
	cmd.AddCommand(lockVerbs(a)...)
	return cmd
}

func newLockRun(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run NAME [flags] -- CMD [ARG…]",
		Short: "the same for any NAME, also one that is a command of lock",
		Long: paragraphs(
			`Is "etcdkit lock NAME -- CMD" in full, and the way to a lock whose name is a command of lock, as "ls" is. Scripts whose names come from elsewhere use this one. See 'etcdkit lock --help' for what is guaranteed.`),
		Example: `  etcdkit lock run ls -- ./list.sh
  etcdkit lock run "$NAME" -- ./job.sh
  etcdkit lock run --timeout 1m release -- make release`,
		Annotations: wrapper(),
	}
	a.runsLocked(cmd)
	return cmd
}

// runsLocked gives a command the flags of lock, and lets it run its command under the lock.
func (a *app) runsLocked(cmd *cobra.Command) {
	f := new(lockFlags)
	f.addWait(cmd)
	f.addHeld(cmd, "lock", "how long the lock stays with a machine that is gone")
	cmd.Flags().DurationVar(&f.every, "every", 0, "run CMD only if no process has completed it in this period; whole seconds, 2s at least")
	cluster := clusterFlags(cmd)
	cmd.Args = needsCommand("which lock, and which command? as in: etcdkit lock jobs/nightly -- ./nightly.sh", 1)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := f.check(); err != nil {
			return err
		}
		return a.lock(cmd.Context(), f, cluster, args[0], args[1:])
	}
}

// lock runs a command under a lock.
func (a *app) lock(ctx context.Context, f *lockFlags, cluster *place.Flags, name string, argv []string) error {
	cmd, err := child.Command(argv)
	if err != nil {
		return a.cannotRun(err)
	}
	signals, stopSignals := child.Forwarded() // from now on none is missed
	defer stopSignals()
	r := &lockRun{a: a, flags: f, name: name, cmd: cmd, signals: signals}
	if r.supervisor, err = a.supervise(r.what(), f.grace); err != nil {
		return err
	}
	defer r.supervisor.Close()
	return r.run(ctx, cluster)
}

package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/out"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/reload"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/watch"
	"github.com/etcdkit/etcdkit/mirror"
)

// watchFlags are those of watch.
type watchFlags struct {
	keepUp
	prefix, prevKV    bool
	rev               int64
	initial           string
	once, exitOnError bool
	format            out.Format
}

func newWatch(a *app) *cobra.Command {
	var f watchFlags
	cmd := &cobra.Command{
		Use:   "watch KEY [RANGE_END] [flags] [-- CMD [ARG…]]",
		Short: "print changes as they happen, or run a command at each",
		Long: paragraphs(
			"Prints each change of KEY, of the keys from KEY to RANGE_END, or with --prefix of all keys that begin with KEY. No change is missed: where etcd has compacted away what was not seen yet, the keys are read again and compared, and watch says so.",
			"With CMD it runs CMD at each change, and not at the start. One run goes on at a time: what changes meanwhile is for the next run. CMD reads the changes on its stdin, as one line of JSON:",
			`  {"revision":12,"reason":"changed","changes":[{"type":"put","key":"a",
   "value":"2","prev_value":"1","revision":12,"create_revision":9,
   "version":2,"lease":"0","synthesised":false}]}`,
			"Each key is there once, as the last change left it; prev_value is what it was at the end of the run before. A key that came and went is not there. reason is changed, initial (--initial run), or reread (found by comparing, synthesised: there may have been other changes in between). Bytes that are not UTF-8 are {\"base64\":\"…\"}.",
			"CMD has ETCD_WATCH_REVISION, and of the last change ETCD_WATCH_EVENT_TYPE (PUT or DELETE), ETCD_WATCH_KEY and ETCD_WATCH_VALUE, as etcdctl sets them but without quotes; ETCDKIT_WATCH_CHANGES is their number. A variable that would contain a NUL byte or more than 64 KiB is not set.",
			"A CMD that fails is not run again for the same changes: watch says so and goes on, unless --exit-on-error. With --on-change signal or restart CMD is started at once and runs on; its stdin is that of watch. The exit code is CMD's own where it ends watch, 128 + the signal where one ends it, 125 for a failure of watch, 126 or 127 if CMD cannot be executed."),
		Example: "  etcdkit watch config/ --prefix\n" +
			"  etcdkit watch config/ --prefix -- sh -c 'jq -r .changes[].key'\n" +
			"  etcdkit watch config/limits --on-change signal=HUP -- ./server",
		Annotations: wrapperWithCommand(),
		RunE:        func(cmd *cobra.Command, args []string) error { return a.watch(cmd, &f, args) },
	}
	f.cluster = clusterFlags(cmd)
	flags := cmd.Flags()
	flags.BoolVar(&f.prefix, "prefix", false, "watch all keys that begin with KEY")
	flags.Int64Var(&f.rev, "rev", 0, "begin with the changes since this revision")
	flags.BoolVar(&f.prevKV, "prev-kv", false, "print what the value was before, too")
	flags.StringVar(&f.initial, "initial", "skip", "run or skip: whether CMD runs at the start, or what there is is printed")
	flags.BoolVar(&f.once, "once", false, "end after CMD's first run, with its exit code")
	flags.BoolVar(&f.exitOnError, "exit-on-error", false, "end when CMD fails, with its exit code")
	f.flags(cmd, "debounce", 100*time.Millisecond, reload.Run, reload.Signal, reload.Restart)
	formatFlag(cmd, &f.format, out.Table, out.JSON, out.JSONL, out.Value, out.Template)
	return cmd
}

// bounds are the first key and the end of the range, as mirror has it.
func (f *watchFlags) bounds(args []string) (first, end string, err error) {
	switch {
	case len(args) == 0:
		return "", "", usagef("which key? as in: etcdkit watch config/ --prefix")
	case len(args) > 2:
		return "", "", usagef("unexpected argument %q: a command comes after --", args[2])
	case f.prefix && len(args) == 2:
		return "", "", usagef("RANGE_END and --prefix exclude one another; a command comes after --")
	case f.prefix:
		return args[0], "", nil
	case args[0] == "":
		return "", "", usagef(`KEY is empty: --prefix "" is all keys`)
	case len(args) == 1:
		return args[0], args[0] + "\x00", nil
	case args[1] <= args[0]:
		return "", "", usagef("no key is between %q and %q; a command comes after --", args[0], args[1])
	}
	return args[0], args[1], nil
}

// checkWatch refuses flags that do not belong together.
func (f *watchFlags) checkWatch(cmd *cobra.Command, command []string) error {
	if err := f.check(); err != nil {
		return err
	}
	switch {
	case f.initial != "run" && f.initial != "skip":
		return usagef("--initial %q: want run or skip", f.initial)
	case f.rev < 0:
		return usagef("--rev %d: want a revision", f.rev)
	case f.rev > 0 && f.initial == "run":
		return usagef("--rev and --initial run exclude one another")
	case len(command) == 0:
		return needCommand(cmd, "on-change", "debounce", "kill-grace", "once", "exit-on-error")
	case cmd.Flags().Changed("output"):
		return usagef("-o is about what watch prints: with a command it prints nothing")
	case f.policy.What != reload.Run && (f.initial == "run" || f.once || f.exitOnError):
		return usagef("--initial, --once and --exit-on-error are about --on-change run: with %s CMD is started at once and ends watch", f.policy.What)
	}
	return nil
}

func (a *app) watch(cmd *cobra.Command, f *watchFlags, args []string) error {
	own, command, err := splitCommand(cmd, args)
	if err != nil {
		return err
	}
	first, end, err := f.bounds(own)
	if err != nil {
		return err
	}
	if err := f.checkWatch(cmd, command); err != nil {
		return err
	}
	ctx, start, err := f.begin(cmd.Context(), a, command)
	if err != nil {
		return err
	}
	defer start.close()
	opening, cancel := context.WithTimeout(ctx, f.start)
	defer cancel()
	s, err := watch.Open(opening, start.place.Client, first, end, f.rev)
	if err != nil {
		return start.end(unreachable(a.whyUnanswered(ctx, start.place.Client, err)))
	}
	defer s.Close()
	if err := start.end(nil); err != nil {
		return err
	}
	return a.watchOn(cmd.Context(), s, start.signals, f, command)
}

func (a *app) watchOn(ctx context.Context, s *watch.Source, signals <-chan os.Signal, f *watchFlags, command []string) error {
	if len(command) > 0 {
		until, passed, stop := commandSignals(ctx, signals)
		defer stop()
		ctx, signals = until, passed
	}
	if rev, now := s.Future(); rev > now+1 {
		a.out.Talkf("etcdkit: waiting for revision %d; etcd is at revision %d now", rev, now)
	}
	defer a.saysFreshness(ctx, s)()
	if len(command) == 0 {
		return interrupted(ctx, a.printChanges(ctx, s, f))
	}
	job := &watch.Job{
		Source: s, Wrapped: f.wrapped(a, command, signals),
		Initial: f.initial == "run", Once: f.once, ExitOnError: f.exitOnError,
	}
	return a.commandEnded(job.Run(context.WithoutCancel(ctx)))
}

// printChanges prints until ctx or the source ends.
func (a *app) printChanges(ctx context.Context, s *watch.Source, f *watchFlags) error {
	r := a.out.Stream(f.format)
	if f.initial == "run" {
		if err := printBatch(r, s.Present(), f); err != nil {
			return err
		}
	}
	for b, err := range s.Batches(ctx) {
		var compacted *watch.CompactedError
		switch {
		case errors.As(err, &compacted):
			return fmt.Errorf("%w: --rev %d", err, compacted.Oldest)
		case err != nil:
			return err
		case b.Reason == watch.Reread:
			a.out.Talkf("etcdkit: the next %s found by comparing%s: there may have been others before revision %d", plural(int64(len(b.Changes)), "change was", "changes were"), because(b.Because), b.Revision)
		}
		if err := printBatch(r, b, f); err != nil {
			return err
		}
	}
	return nil
}

func printBatch(r *out.Records, b watch.Batch, f *watchFlags) error {
	for _, c := range b.Changes {
		made := watch.NewChange(c)
		if !f.prevKV {
			made.PrevValue = nil
		}
		if c.New == nil && f.format.Is(out.Value) {
			continue
		}
		record := out.Record{Line: changeLine(c, f.prevKV), JSON: made}
		if c.New != nil {
			record.Value = []byte(c.New.Value)
		}
		if err := r.Add(record); err != nil {
			return err
		}
	}
	return nil
}

// changeLine is a change for people.
func changeLine(c mirror.Change, prev bool) string {
	line := fmt.Sprintf("%d  %-6s  %s", c.Revision, "delete", out.Safe(c.Key))
	if c.New != nil {
		line = fmt.Sprintf("%d  %-6s  %s = %s", c.Revision, "put", out.Safe(c.Key), out.Safe(c.New.Value))
		if c.New.Lease != 0 {
			line += fmt.Sprintf("  (lease %s)", out.Hex(c.New.Lease))
		}
	}
	if prev && c.Old != nil {
		line += fmt.Sprintf("  (was %s)", out.Safe(c.Old.Value))
	}
	return line
}

// because says why the keys were read again.
func because(why mirror.Reason) string {
	switch why {
	case "":
		return ""
	case mirror.Compacted:
		return ", as etcd has compacted away what was not seen yet"
	}
	return fmt.Sprintf(" (%s)", why)
}

package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/out"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/place"
	"github.com/etcdkit/etcdkit/internal/errtext"
	"github.com/etcdkit/etcdkit/internal/quote"
	"github.com/etcdkit/etcdkit/keys"
)

// copyFlags are those of copy.
type copyFlags struct {
	format out.Format
	opts   keys.CopyOptions
	follow bool
	yes    bool
	to     place.Flags // of the destination; the zero value: the same cluster
}

func newCopy(a *app) *cobra.Command {
	f := &copyFlags{to: place.Flags{Apart: true}}
	cmd := &cobra.Command{
		Annotations: lasting(),
		Use:         "copy SRC DST", Short: "copy keys to another prefix or cluster, once or as they change",
		Long: paragraphs(
			"Makes the keys that begin with SRC, as they are at one revision, keys that begin with DST: on the same cluster, or on the one that --to or --to-context names. It writes only what differs, so it can be repeated, and goes on where it was interrupted. Keys that it would write over or delete it counts first, and asks.",
			"With --follow it goes on until it is interrupted, and makes every change in order. What etcd compacted away meanwhile, as after an outage, it finds by comparing. While a cluster is away it waits and says so.",
			"Leases are re-made with their TTLs. With --follow a lease at the destination lives as long as the source's; otherwise, and when --follow ends, its TTL runs.",
			"ETCDKIT_ and ETCDCTL_ variables are the source's; what the destination needs is in the --to flags."),
		Example: "  etcdkit copy app/ backup/app/\n  etcdkit copy '' '' --to https://10.1.0.1:2379 --to-cacert ca.pem --dry-run\n  etcdkit copy app/ app/ --to-context standby --follow --delete --yes",
		Args:    needs("which keys, and where to? as in: copy app/ backup/app/", 2, 2),
		PreRunE: func(cmd *cobra.Command, _ []string) error { return f.check(cmd) },
	}
	f.to.Prompt = promptOf(cmd)
	flags := cmd.Flags()
	formatFlag(cmd, &f.format, out.Table, out.JSON, out.JSONL, out.Template)
	flags.BoolVar(&f.follow, "follow", false, "go on, and copy every change")
	flags.BoolVar(&f.opts.Delete, "delete", false, "delete what begins with DST and is not at the source")
	flags.BoolVar(&f.opts.DryRun, "dry-run", false, "say what would be done with each key, and write nothing")
	yesFlag(cmd, &f.yes)
	flags.StringSliceVar(&f.to.Endpoints, "to", nil, "client addresses of the destination's members")
	flags.StringVar(&f.to.Context, "to-context", "", "the destination by name: see etcdkit ctx")
	flags.StringVar(&f.to.CACert, "to-cacert", "", "as --cacert, of the destination")
	flags.StringVar(&f.to.Cert, "to-cert", "", "as --cert, of the destination")
	flags.StringVar(&f.to.Key, "to-key", "", "as --key, of the destination")
	flags.StringVar(&f.to.User, "to-user", "", "as --user, of the destination")
	flags.StringVar(&f.to.PasswordFile, "to-password-file", "", "as --password-file, of the destination")
	return a.onKeys(cmd, func(ctx context.Context, src *clientv3.Client, args []string) error {
		if f.to.Endpoints == nil && f.to.Context == "" {
			return copyError(a.copy(ctx, src, src, args[0], args[1], f))
		}
		there := a.listenTo(&f.to, true)
		p, err := a.find(ctx, &f.to)
		if err != nil {
			return &destinationError{unreachable(err)}
		}
		defer p.Close()
		err = there.during(ctx, p.Client, func() error { return copyError(a.copy(ctx, src, p.Client, args[0], args[1], f)) })
		if why := a.whyUnanswered(ctx, p.Client, err); err != nil && (there.cause != nil || why != err) {
			return &destinationError{why}
		}
		return err
	})
}

func (f *copyFlags) check(cmd *cobra.Command) error {
	var of []string
	cmd.Flags().VisitAll(func(flag *pflag.Flag) {
		if strings.HasPrefix(flag.Name, "to-") && flag.Name != "to-context" && flag.Changed {
			of = append(of, "--"+flag.Name)
		}
	})
	if err := f.to.CheckUser(); err != nil {
		return &usageError{err}
	}
	switch {
	case f.to.Endpoints == nil && f.to.Context == "" && len(of) > 0:
		return usagef("%s: of which cluster? --to or --to-context names it", strings.Join(of, ", "))
	case f.to.Endpoints != nil && f.to.Context != "":
		return usagef("--to and --to-context exclude one another")
	case f.follow && f.opts.DryRun:
		return usagef("--follow and --dry-run exclude one another: --dry-run alone says what there is to do first")
	case f.follow && !f.format.Is(out.Table):
		return usagef("--follow and -o exclude one another: it has no result to print")
	case f.to.PasswordFile == "-" && cmd.Flags().Lookup("password-file").Value.String() == "-":
		return usagef("stdin can be one password, not two")
	}
	return nil
}

// destinationError is an error of connecting to the destination: the source's client knows nothing of it.
type destinationError struct{ err error }

func (e *destinationError) Error() string { return "the destination: " + errtext.Text(e.err) }
func (e *destinationError) Unwrap() error { return e.err }

// copyError gives an error of a copy its exit code.
func copyError(err error) error {
	if errors.Is(err, keys.ErrReplaced) {
		return fmt.Errorf("%w; nothing was deleted at the destination: look at the source, and start again", err)
	}
	return keysError(err)
}

func (a *app) copy(ctx context.Context, src, dst *clientv3.Client, from, to string, f *copyFlags) error {
	if err := a.confirmCopy(ctx, src, dst, from, to, f); err != nil {
		return err
	}
	m := a.newMover("copying")
	defer m.line.End()
	m.list = f.opts.DryRun && f.format.Is(out.Table)
	if f.follow {
		counts, err := keys.Follow(ctx, src, from, dst, to, &keys.FollowOptions{Delete: f.opts.Delete, Each: m.each, Progress: m.progress})
		m.line.End()
		if ctx.Err() != nil {
			a.out.Talkf("etcdkit: ended: %s. Leases at the destination end with their TTLs; started again, the copy goes on", countsText(counts))
		}
		return err
	}
	opts := f.opts
	opts.Each, opts.Progress = m.each, m.progress
	counts, err := keys.Copy(ctx, src, from, dst, to, &opts)
	m.line.End()
	if err != nil {
		return err
	}
	return a.printCounts(f.format, "copy", counts, f.opts.DryRun)
}

// confirmCopy asks whether to write over keys and delete others, if there are any.
func (a *app) confirmCopy(ctx context.Context, src, dst *clientv3.Client, from, to string, f *copyFlags) error {
	if f.opts.DryRun || f.yes {
		return nil
	}
	m := a.newMover("comparing")
	defer m.line.End()
	there, err := keys.OpenExport(ctx, dst, to, &keys.ExportOptions{Waiting: m.wait})
	if err != nil || there.Count == 0 {
		return err
	}
	would, err := keys.Copy(ctx, src, from, dst, to, &keys.CopyOptions{Delete: f.opts.Delete, DryRun: true, Progress: m.progress})
	if err != nil {
		return err
	}
	m.line.End()
	var what []string
	if would.Updated > 0 {
		what = append(what, "write over "+out.Count(int(would.Updated), "key"))
	}
	if would.Deleted > 0 {
		what = append(what, "delete "+out.Count(int(would.Deleted), "key"))
	}
	if len(what) == 0 {
		return nil
	}
	return a.confirm(ctx, false, "%s below %s at the destination", strings.Join(what, " and "), quote.Text(to))
}

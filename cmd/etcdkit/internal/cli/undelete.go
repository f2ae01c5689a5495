package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/out"
	"github.com/etcdkit/etcdkit/keys"
)

func newUndelete(a *app) *cobra.Command {
	var format out.Format
	var opts keys.HistoryOptions
	var revision int64
	cmd := &cobra.Command{
		Use: "undelete KEY", Short: "write a deleted key back",
		Long: paragraphs(
			"Writes a deleted key with the last value that it had, or with --rev with the one that it had at a revision. A key that exists is not touched: that is exit code 3, as is a key of which etcd has no value. The lease of the key does not come back: the key stays until it is deleted.",
			"How the last value is found, and what etcdkit may miss, is in 'etcdkit history --help'."),
		Example: "  etcdkit undelete config/timeout\n  etcdkit undelete config/timeout --rev 1234\n  etcdkit undelete jobs/42 -o json",
		Args:    needs("which key?", 1, 1),
		PreRunE: func(_ *cobra.Command, args []string) error {
			switch {
			case args[0] == "":
				return usagef("the key is empty")
			case revision < 0:
				return usagef("--rev %d: want a revision", revision)
			case opts.Search < 1:
				return usagef("--search is 1 or more")
			}
			return nil
		},
	}
	formatFlag(cmd, &format, out.Table, out.JSON, out.JSONL, out.Value, out.Template)
	flags := cmd.Flags()
	flags.Int64Var(&revision, "rev", 0, "the value that the key had at this revision")
	flags.Int64Var(&opts.Search, "search", 20_000, "how many revisions to look through for the deletion")
	return a.onKeys(cmd, func(ctx context.Context, cli *clientv3.Client, args []string) error {
		var r *keys.Restored
		var err error
		if revision > 0 {
			r, err = keys.UndeleteAt(ctx, cli, args[0], revision)
		} else {
			r, err = keys.Undelete(ctx, cli, args[0], &opts)
		}
		if err != nil {
			return err
		}
		return a.printRestored(r, format)
	})
}

// restoredJSON is what undelete has done.
type restoredJSON struct {
	Key      keys.Bytes `json:"key"`
	Value    keys.Bytes `json:"value"`
	From     int64      `json:"from_revision"` // that wrote the value before
	Revision int64      `json:"revision"`      // that wrote it back
	Lease    string     `json:"former_lease"`
}

func (a *app) printRestored(r *keys.Restored, format out.Format) error {
	lease := ""
	if r.Lease != 0 {
		lease = fmt.Sprintf("; it had lease %s, and has none now", out.Hex(r.Lease))
	}
	a.out.Talkf("etcdkit: written back as of revision %d%s", r.From, lease)
	for _, g := range r.Gaps {
		a.out.Talkf("etcdkit: between revisions %d and %d the key may have had a newer value, for a short time; see etcdkit history --search", g.After, g.Before)
	}
	if format.Is(out.Table) {
		return a.out.Printf("revision %d\n", r.Revision)
	}
	return a.out.Record(format, nil, out.Record{Value: r.Value, Exact: true, JSON: restoredJSON{keys.Bytes(r.Key), r.Value, r.From, r.Revision, out.Hex(r.Lease)}})
}

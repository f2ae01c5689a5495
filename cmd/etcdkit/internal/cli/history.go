package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/out"
	"github.com/etcdkit/etcdkit/internal/quote"
	"github.com/etcdkit/etcdkit/keys"
)

func newHistory(a *app) *cobra.Command {
	var format out.Format
	var opts keys.HistoryOptions
	cmd := &cobra.Command{
		Use: "history KEY", Short: "what a key was before, as far as etcd knows",
		Long: paragraphs(
			"Prints the changes of a key, the newest first: each create, put and delete. etcd keeps them until it is compacted. A key that etcd knows nothing of is exit code 3.",
			"etcd finds earlier values of a key fast, but deletions only by reading all changes of all keys: history looks through the last 20,000 revisions for them. Further back it finds a deleted key only if it existed for long, and says so. --search looks further; a member takes seconds for a million changes, and lets no write pass meanwhile."),
		Example: "  etcdkit history config/timeout\n  etcdkit history config/timeout --limit 1000 -o jsonl\n  etcdkit history jobs/42 --search 5000000",
		Args:    needs("which key?", 1, 1),
		PreRunE: func(_ *cobra.Command, args []string) error { return checkHistory(args, &opts) },
	}
	formatFlag(cmd, &format, out.Table, out.JSON, out.JSONL, out.Value, out.Template)
	flags := cmd.Flags()
	flags.IntVar(&opts.Limit, "limit", 100, "at most so many changes: the newest")
	flags.Int64Var(&opts.From, "from", 0, "none before this revision")
	flags.Int64Var(&opts.To, "to", 0, "none after this revision; 0: up to now")
	flags.Int64Var(&opts.Search, "search", 20_000, "how many revisions to look through for deletions")
	return a.onKeys(cmd, func(ctx context.Context, cli *clientv3.Client, args []string) error {
		return a.history(ctx, cli, args[0], format, &opts)
	})
}

func checkHistory(args []string, opts *keys.HistoryOptions) error {
	switch {
	case args[0] == "":
		return usagef("the key is empty")
	case opts.Limit < 1 || opts.Search < 1:
		return usagef("--limit and --search are 1 or more")
	case opts.From < 0 || opts.To < 0 || opts.To > 0 && opts.From > opts.To:
		return usagef("--from %d and --to %d: want two revisions in order", opts.From, opts.To)
	}
	return nil
}

// changeJSON is a change as history prints it.
type changeJSON struct {
	Kind           keys.Kind   `json:"kind"`
	Revision       int64       `json:"revision"`
	Value          *keys.Bytes `json:"value"` // null for a deletion
	CreateRevision int64       `json:"create_revision"`
	Version        int64       `json:"version"`
	Lease          string      `json:"lease"`
}

func (a *app) history(ctx context.Context, cli *clientv3.Client, key string, format out.Format, opts *keys.HistoryOptions) error {
	h, err := keys.ReadHistory(ctx, cli, key, opts)
	if err != nil {
		return err
	}
	if len(h.Changes) == 0 {
		return notFoundf("etcd knows nothing of key %s%s", quote.Text(key), a.missing(h))
	}
	records := a.out.Records(format, "REVISION", "CHANGE", "VERSION", "LEASE", "VALUE")
	for _, c := range h.Changes {
		j := changeJSON{Kind: c.Kind, Revision: c.Revision, CreateRevision: c.CreateRevision, Version: c.Version, Lease: out.Hex(c.Lease)}
		row := []out.Cell{{Text: fmt.Sprint(c.Revision), Right: true}, {Text: string(c.Kind)}}
		if c.Kind == keys.Deleted {
			if format.Is(out.Value) {
				continue
			}
			row[1].Colour = out.Red
		} else {
			value, lease := keys.Bytes(c.Value), ""
			if c.Lease != 0 {
				lease = out.Hex(c.Lease)
			}
			j.Value = &value
			row = append(row, out.Cell{Text: fmt.Sprint(c.Version), Right: true}, out.Cell{Text: lease}, out.Cell{Text: out.Safe(string(c.Value))})
		}
		if err := records.Add(out.Record{Row: row, Value: c.Value, JSON: j}); err != nil {
			return err
		}
	}
	if err := records.Close(); err != nil {
		return err
	}
	if text := a.missing(h); text != "" {
		a.out.Talkf("etcdkit: %s", text[len("; "):])
	}
	return nil
}

// missing says what a history does not have, behind a semicolon each.
func (a *app) missing(h *keys.History) string {
	text := ""
	if h.More {
		text += "; there are older changes: see --limit"
	}
	if h.Compacted > 0 {
		text += fmt.Sprintf("; etcd is compacted: it has no changes before revision %d", h.Compacted)
	}
	for _, g := range h.Gaps {
		text += fmt.Sprintf("; between revisions %d and %d the key may have had a short life that is not shown: see --search", g.After, g.Before)
	}
	return text
}

package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/out"
	"github.com/etcdkit/etcdkit/internal/ask"
	"github.com/etcdkit/etcdkit/internal/quote"
	"github.com/etcdkit/etcdkit/keys"
)

// delFlags are those of del.
type delFlags struct {
	format                   out.Format
	prefix, fromKey, byRange bool
	all, yes, prevKV         bool
	hex                      bool
}

func newDel(a *app) *cobra.Command {
	d := new(delFlags)
	cmd := &cobra.Command{
		Use: "del KEY [RANGE_END]", SuggestFor: []string{"delete", "rm", "remove"}, Short: "delete a key, or a range of keys",
		Long: paragraphs(
			"Deletes one key. A key that does not exist is exit code 3. More than one key is deleted only with --prefix, --range or --from-key, and after saying how many: it asks on a terminal, and wants --yes elsewhere. All keys of the cluster are deleted only with --all.",
			"A range of at most 10,000 keys is deleted in one revision, a larger one in parts. Deleted keys come back with etcdkit undelete, as long as etcd is not compacted."),
		Example: "  etcdkit del config/timeout\n  etcdkit del --prefix jobs/done/\n  etcdkit del --range jobs/2025 jobs/2026 --yes",
		Args:    needs("which key? --all deletes all", 0, 2),
		PreRunE: func(_ *cobra.Command, args []string) error { return d.check(args) },
	}
	flags := cmd.Flags()
	formatFlag(cmd, &d.format, out.Table, out.JSON, out.JSONL, out.Value, out.Template)
	flags.BoolVar(&d.prefix, "prefix", false, "the keys that begin with KEY")
	flags.BoolVar(&d.byRange, "range", false, "the keys from KEY up to RANGE_END")
	flags.BoolVar(&d.fromKey, "from-key", false, "the keys from KEY on")
	flags.BoolVar(&d.all, "all", false, "all keys of the cluster")
	flags.BoolVar(&d.prevKV, "prev-kv", false, "print the keys as they were")
	flags.BoolVar(&d.hex, "hex", false, `print bytes as \x68\x69, in a table or with -o value`)
	yesFlag(cmd, &d.yes)
	return a.onKeys(cmd, func(ctx context.Context, cli *clientv3.Client, args []string) error {
		if r, is := d.keyRange(args); is {
			return a.delRange(ctx, cli, r, d)
		}
		return a.delKey(ctx, cli, args[0], d)
	})
}

func (d *delFlags) check(args []string) error {
	ways := 0
	for _, way := range []bool{d.prefix, d.fromKey, d.byRange} {
		if way {
			ways++
		}
	}
	switch {
	case ways > 1:
		return usagef("--prefix, --range and --from-key exclude one another")
	case len(args) == 0 && !d.all:
		return usagef("which key? --all deletes all")
	case d.all && (d.byRange || len(args) == 2 || len(args) == 1 && args[0] != ""):
		return usagef("--all and KEY exclude one another: --all deletes every key")
	case d.all:
		return nil
	case d.byRange && len(args) != 2:
		return usagef("--range deletes the keys from KEY up to RANGE_END: want both")
	case d.byRange && args[1] <= args[0]:
		return usagef("no key is from %q up to %q", args[0], args[1])
	case len(args) == 2 && ways > 0 && !d.byRange:
		return usagef("RANGE_END and --prefix or --from-key exclude one another")
	case len(args) == 2 && !d.byRange:
		return usagef("two keys would be a range, from %q up to %q: --range deletes it", args[0], args[1])
	case args[0] == "" && ways > 0:
		return usagef("an empty key is the beginning of every key of the cluster: --all deletes them all")
	case args[0] == "":
		return usagef("the key is empty")
	}
	return nil
}

// keyRange is the range that is deleted, if it is not one key.
func (d *delFlags) keyRange(args []string) (r keys.Range, is bool) {
	switch {
	case d.all:
		return keys.All(), true
	case d.prefix:
		return keys.Prefix(args[0]), true
	case d.byRange:
		return keys.Range{From: args[0], End: args[1]}, true
	case d.fromKey:
		return keys.Range{From: args[0], End: keys.NoEnd}, true
	}
	return keys.Range{}, false
}

// delJSON is what del has done.
type delJSON struct {
	Deleted  int64     `json:"deleted"`
	Previous []keyJSON `json:"previous,omitempty"` // with --prev-kv
}

func (a *app) delKey(ctx context.Context, cli *clientv3.Client, key string, d *delFlags) error {
	bounded, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var opts []clientv3.OpOption
	if d.prevKV {
		opts = append(opts, clientv3.WithPrevKV())
	}
	resp, err := cli.Delete(bounded, key, opts...)
	if err != nil {
		failed := fmt.Errorf("delete %s: %w", quote.Text(key), err)
		if ask.ClassOf(err) == ask.Ambiguous {
			return &unsureError{failed, "it may have been deleted all the same"}
		}
		return failed
	}
	if resp.Deleted == 0 {
		return a.noKey(ctx, cli, key, 0)
	}
	return a.printDeleted(resp.Deleted, resp.PrevKvs, d)
}

func (a *app) delRange(ctx context.Context, cli *clientv3.Client, r keys.Range, d *delFlags) error {
	n, err := keys.Count(ctx, cli, r)
	if err != nil {
		return err
	}
	if n == 0 {
		a.out.Talkf("etcdkit: no key to delete: there are no %v", r)
		return a.printDeleted(0, nil, d)
	}
	what := fmt.Sprintf("delete %s%s", out.Count(int(n), "key"), strings.TrimPrefix(r.String(), "keys"))
	if r == keys.All() {
		what = fmt.Sprintf("delete %s: all that the cluster has", out.Count(int(n), "key"))
	}
	if err := a.confirm(ctx, d.yes, "%s", what); err != nil {
		return err
	}
	var previous []*mvccpb.KeyValue
	opts := new(keys.DeleteOptions)
	if d.prevKV {
		opts.Deleted = func(kvs []*mvccpb.KeyValue) { previous = append(previous, kvs...) }
	}
	done := a.out.Waiting("deleting " + out.Count(int(n), "key"))
	deleted, err := keys.Delete(ctx, cli, r, opts)
	done()
	if err != nil {
		return err
	}
	return a.printDeleted(deleted, previous, d)
}

// printDeleted prints how many keys were deleted, and which, if it was asked for.
func (a *app) printDeleted(deleted int64, previous []*mvccpb.KeyValue, d *delFlags) error {
	p := &keyPrinter{hex: d.hex}
	switch {
	case d.format.Is(out.Table) && d.prevKV:
		a.out.Talkf("etcdkit: deleted %s", out.Count(int(deleted), "key"))
		records := a.out.Records(d.format, p.headings()...)
		for _, kv := range previous {
			if err := records.Add(p.record(kv)); err != nil {
				return err
			}
		}
		return records.Close()
	case d.format.Is(out.Table):
		return a.out.Printf("deleted %s\n", out.Count(int(deleted), "key"))
	}
	result := delJSON{Deleted: deleted}
	for _, kv := range previous {
		result.Previous = append(result.Previous, p.json(kv))
	}
	return a.out.Record(d.format, nil, out.Record{Value: fmt.Append(nil, deleted), JSON: result})
}

package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/out"
	"github.com/etcdkit/etcdkit/internal/quote"
	"github.com/etcdkit/etcdkit/keys"
)

// getFlags are those of get. Their names are etcdctl's.
type getFlags struct {
	format               out.Format
	formatSet            bool
	prefix, fromKey      bool
	limit, revision      int64
	order, sortBy        string
	countOnly, valueOnly bool
	consistency          string
	minCreate, maxCreate int64
	minMod, maxMod       int64
	print                keyPrinter
}

func newGet(a *app) *cobra.Command {
	g := new(getFlags)
	cmd := &cobra.Command{
		Use: "get KEY [RANGE_END]", SuggestFor: []string{"cat", "show", "read"}, Short: "the value of a key, or a range of keys",
		Long: paragraphs(
			"Prints the value of a key as it is, to the byte: a terminal gets it with a newline, and without what could harm it. A key that does not exist is exit code 3.",
			"With --prefix, --from-key or RANGE_END it prints the keys of a range and their values as a table. A range without a key is an empty table. -l adds the version of each key, the revisions that created and last changed it, and its lease with the time that it has left."),
		Example: "  etcdkit get config/timeout\n  etcdkit get --prefix /services/ -l\n  etcdkit get config/ --prefix -o jsonl | jq -r .key",
		Args:    needs("which key?", 1, 2),
		PreRunE: func(cmd *cobra.Command, args []string) error {
			g.formatSet = cmd.Flags().Changed("output")
			return g.check(args)
		},
	}
	flags := cmd.Flags()
	formatFlag(cmd, &g.format, out.Value, out.Table, out.JSON, out.JSONL, out.Template)
	flags.Lookup("output").DefValue = ""
	flags.Lookup("output").Usage += " (default value for a key, table for a range)"
	flags.BoolVarP(&g.print.long, "long", "l", false, "with version, revisions, lease and its remaining time")
	flags.BoolVar(&g.prefix, "prefix", false, "the keys that begin with KEY")
	flags.BoolVar(&g.fromKey, "from-key", false, "the keys from KEY on")
	flags.Int64Var(&g.limit, "limit", 0, "at most so many keys")
	flags.Int64Var(&g.revision, "rev", 0, "as it was at this revision")
	flags.StringVar(&g.order, "order", "", "ASCEND or DESCEND")
	flags.StringVar(&g.sortBy, "sort-by", "", "CREATE, KEY, MODIFY, VALUE or VERSION")
	flags.BoolVar(&g.print.keysOnly, "keys-only", false, "without the values")
	flags.BoolVar(&g.countOnly, "count-only", false, "only how many keys there are")
	flags.BoolVar(&g.valueOnly, "print-value-only", false, "as -o value")
	flags.BoolVar(&g.print.hex, "hex", false, `print bytes as \x68\x69, in a table or with -o value`)
	flags.StringVar(&g.consistency, "consistency", "l", "l: linearizable; s: serializable, what one member has, perhaps old")
	flags.Int64Var(&g.minCreate, "min-create-rev", 0, "created at this revision or later")
	flags.Int64Var(&g.maxCreate, "max-create-rev", 0, "created at this revision or before")
	flags.Int64Var(&g.minMod, "min-mod-rev", 0, "last changed at this revision or later")
	flags.Int64Var(&g.maxMod, "max-mod-rev", 0, "last changed at this revision or before")
	return a.onKeys(cmd, func(ctx context.Context, cli *clientv3.Client, args []string) error {
		switch {
		case g.countOnly:
			return a.getCount(ctx, cli, args, g)
		case g.isRange(args):
			return a.getRange(ctx, cli, args, g)
		}
		return a.getKey(ctx, cli, args[0], g)
	})
}

func (g *getFlags) isRange(args []string) bool { return len(args) == 2 || g.prefix || g.fromKey }

// check refuses what etcdctl refuses, or passes on although it makes no sense, and sets the format.
func (g *getFlags) check(args []string) error {
	switch {
	case g.prefix && g.fromKey:
		return usagef("--prefix and --from-key exclude one another")
	case len(args) == 2 && (g.prefix || g.fromKey):
		return usagef("RANGE_END and --prefix or --from-key exclude one another")
	case len(args) == 2 && args[1] <= args[0]:
		return usagef("no key is from %q up to %q", args[0], args[1])
	case args[0] == "" && !g.isRange(args):
		return usagef("the key is empty; --prefix '' means all keys")
	case g.print.keysOnly && g.countOnly:
		return usagef("--keys-only and --count-only exclude one another")
	case g.valueOnly && (g.print.keysOnly || g.countOnly || g.formatSet):
		return usagef("--print-value-only and another output exclude one another: it is -o value")
	case g.limit < 0 || g.revision < 0 || g.minCreate < 0 || g.maxCreate < 0 || g.minMod < 0 || g.maxMod < 0:
		return usagef("limits and revisions are 0 or more")
	case g.maxCreate > 0 && g.minCreate > g.maxCreate, g.maxMod > 0 && g.minMod > g.maxMod:
		return usagef("the least revision is greater than the greatest: no key fits")
	case g.consistency != "l" && g.consistency != "s":
		return usagef("--consistency %q: want l or s", g.consistency)
	}
	if _, err := g.sort(); err != nil {
		return err
	}
	if !g.formatSet && !g.valueOnly && !g.print.keysOnly && !g.countOnly && (g.print.long || g.isRange(args)) {
		g.format = out.NewFormat(out.Table)
	}
	return nil
}

// sort is the order that was asked for; nil: that of the keys.
func (g *getFlags) sort() (clientv3.OpOption, error) {
	orders := map[string]clientv3.SortOrder{"": clientv3.SortNone, "ASCEND": clientv3.SortAscend, "DESCEND": clientv3.SortDescend}
	order, ok := orders[strings.ToUpper(g.order)]
	if !ok {
		return nil, usagef("--order %q: want ASCEND or DESCEND", g.order)
	}
	targets := map[string]clientv3.SortTarget{
		"": clientv3.SortByKey, "KEY": clientv3.SortByKey, "CREATE": clientv3.SortByCreateRevision,
		"MODIFY": clientv3.SortByModRevision, "VALUE": clientv3.SortByValue, "VERSION": clientv3.SortByVersion,
	}
	target, ok := targets[strings.ToUpper(g.sortBy)]
	if !ok {
		return nil, usagef("--sort-by %q: want CREATE, KEY, MODIFY, VALUE or VERSION", g.sortBy)
	}
	if target == clientv3.SortByKey && order != clientv3.SortDescend {
		return nil, nil
	}
	if order == clientv3.SortNone {
		order = clientv3.SortAscend
	}
	return clientv3.WithSort(target, order), nil
}

// options are those of one request for all.
func (g *getFlags) options(args []string) (key string, opts []clientv3.OpOption) {
	key, end := g.keyRange(args).Bounds()
	opts = append(opts, clientv3.WithRange(end))
	if sort, err := g.sort(); sort != nil && err == nil {
		opts = append(opts, sort)
	}
	if g.consistency == "s" {
		opts = append(opts, clientv3.WithSerializable())
	}
	if g.print.keysOnly {
		opts = append(opts, clientv3.WithKeysOnly())
	}
	return key, append(opts, clientv3.WithLimit(g.limit), clientv3.WithRev(g.revision),
		clientv3.WithMinCreateRev(g.minCreate), clientv3.WithMaxCreateRev(g.maxCreate),
		clientv3.WithMinModRev(g.minMod), clientv3.WithMaxModRev(g.maxMod))
}

// getKey prints one key.
func (a *app) getKey(ctx context.Context, cli *clientv3.Client, key string, g *getFlags) error {
	bounded, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	_, opts := g.options([]string{key})
	resp, err := cli.Get(bounded, key, opts...)
	if err != nil {
		return fmt.Errorf("get %s: %w", quote.Text(key), err)
	}
	if len(resp.Kvs) == 0 {
		return a.noKey(ctx, cli, key, g.revision)
	}
	g.print.askLeases(ctx, a, cli, resp.Kvs)
	return a.out.Record(g.format, g.print.headings(), g.print.record(resp.Kvs[0]))
}

// noKey is the error for a key that does not exist. It says so if the key is a folder.
func (a *app) noKey(ctx context.Context, cli *clientv3.Client, key string, revision int64) error {
	at := ""
	if revision != 0 {
		at = fmt.Sprintf(" at revision %d", revision)
	}
	folder := strings.TrimSuffix(key, "/") + "/"
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	below, err := cli.Get(ctx, folder, clientv3.WithPrefix(), clientv3.WithCountOnly(), clientv3.WithRev(revision))
	if err == nil && below.Count > 0 {
		return notFoundf("no key %s%s; %s below %s: see etcdkit ls", quote.Text(key), at, out.Count(int(below.Count), "key"), quote.Text(folder))
	}
	return notFoundf("no key %s%s", quote.Text(key), at)
}

// getCount prints how many keys there are.
func (a *app) getCount(ctx context.Context, cli *clientv3.Client, args []string, g *getFlags) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	key, opts := g.options(args)
	filtered := g.minCreate > 0 || g.maxCreate > 0 || g.minMod > 0 || g.maxMod > 0
	if filtered { // etcd counts before it applies these
		opts = append(opts, clientv3.WithKeysOnly(), clientv3.WithLimit(0))
	} else {
		opts = append(opts, clientv3.WithCountOnly())
	}
	resp, err := cli.Get(ctx, key, opts...)
	if err != nil {
		return fmt.Errorf("count: %w", err)
	}
	count := resp.Count
	if filtered {
		count = int64(len(resp.Kvs))
	}
	text := fmt.Sprint(count)
	if !g.formatSet {
		return a.out.Resultf("%s", text)
	}
	return a.out.Record(g.format, []string{"COUNT"}, out.Record{Row: []out.Cell{{Text: text}}, Value: []byte(text), JSON: struct {
		Count int64 `json:"count"`
	}{count}})
}

// keysAtOnce is how many keys of a range are printed at a time, with the leases that they have.
const keysAtOnce = 500

// getRange prints the keys of a range.
func (a *app) getRange(ctx context.Context, cli *clientv3.Client, args []string, g *getFlags) error {
	records := a.out.Records(g.format, g.print.headings()...)
	var waiting []*mvccpb.KeyValue
	pass := func() error {
		g.print.askLeases(ctx, a, cli, waiting)
		for _, kv := range waiting {
			if err := records.Add(g.print.record(kv)); err != nil {
				return err
			}
		}
		waiting = waiting[:0]
		return nil
	}
	n := int64(0)
	err := g.each(ctx, cli, args, func(kv *mvccpb.KeyValue) (bool, error) {
		n++
		if waiting = append(waiting, kv); len(waiting) == keysAtOnce {
			if err := pass(); err != nil {
				return false, err
			}
		}
		return n != g.limit, nil
	})
	if err == nil {
		err = pass()
	}
	if err != nil {
		return err
	}
	if n == 0 {
		a.out.Talkf("etcdkit: no key in this range")
	}
	return records.Close()
}

// each calls do with the keys of a range, until that is false. A range in the order of its keys is streamed, of
// whatever size; for another order etcd must have all of it at once.
func (g *getFlags) each(ctx context.Context, cli *clientv3.Client, args []string, do func(*mvccpb.KeyValue) (more bool, err error)) error {
	sort, _ := g.sort() // checked before
	if sort == nil && g.consistency == "l" && g.minCreate == 0 && g.maxCreate == 0 && g.minMod == 0 && g.maxMod == 0 {
		for kv, err := range keys.Scan(ctx, cli, g.keyRange(args), &keys.ScanOptions{Revision: g.revision, KeysOnly: g.print.keysOnly}) {
			if err != nil {
				return err
			}
			if more, err := do(kv); !more || err != nil {
				return err
			}
		}
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	key, opts := g.options(args)
	resp, err := cli.Get(ctx, key, opts...)
	if err != nil {
		return fmt.Errorf("get %v: %w", g.keyRange(args), err)
	}
	for _, kv := range resp.Kvs {
		if more, err := do(kv); !more || err != nil {
			return err
		}
	}
	return nil
}

func (g *getFlags) keyRange(args []string) keys.Range {
	switch {
	case len(args) == 2:
		return keys.Range{From: args[0], End: args[1]}
	case g.fromKey:
		return keys.Range{From: args[0], End: keys.NoEnd}
	case g.prefix:
		return keys.Prefix(args[0])
	}
	return keys.Range{From: args[0]}
}

package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/out"
	"github.com/etcdkit/etcdkit/keys"
)

// lsFlags are those of ls.
type lsFlags struct {
	format    out.Format
	long      bool
	limit     int
	revision  int64
	separator string
}

func newLs(a *app) *cobra.Command {
	l := new(lsFlags)
	cmd := &cobra.Command{
		Use: "ls [FOLDER]", Short: "what is directly below a prefix, as in a folder",
		Long: paragraphs(
			"etcd has no folders, but names such as /services/web/1 look like paths. ls prints the keys of one level, and the folders with a slash at their end; a name that is both is printed as both. It skips what is in the folders: a million keys below ten of them take some twelve short requests.",
			"A slash at the end of FOLDER is added where it is missing. Without FOLDER it prints the first level. -l adds the version of each key, the revisions that created and last changed it, its size, and its lease with the time that it has left."),
		Example: "  etcdkit ls\n  etcdkit ls -l /services/web\n  etcdkit ls jobs/ -o value | wc -l",
		Args:    needs("which folder?", 0, 1),
		PreRunE: func(*cobra.Command, []string) error { return l.check() },
	}
	flags := cmd.Flags()
	formatFlag(cmd, &l.format, out.Table, out.JSON, out.JSONL, out.Value, out.Template)
	flags.BoolVarP(&l.long, "long", "l", false, "with version, revisions, size, lease and its remaining time")
	flags.IntVar(&l.limit, "limit", 0, "at most so many names")
	flags.Int64Var(&l.revision, "rev", 0, "as it was at this revision")
	flags.StringVar(&l.separator, "separator", "/", "what ends the name of a folder")
	return a.onKeys(cmd, func(ctx context.Context, cli *clientv3.Client, args []string) error {
		return a.ls(ctx, cli, folder(args, l.separator), l)
	})
}

func (l *lsFlags) check() error {
	switch {
	case l.limit < 0 || l.revision < 0:
		return usagef("limits and revisions are 0 or more")
	case l.separator == "":
		return usagef("--separator is empty")
	}
	return nil
}

// folder is the prefix that an argument means.
func folder(args []string, separator string) string {
	if len(args) == 0 || args[0] == "" || strings.HasSuffix(args[0], separator) {
		return strings.Join(args, "")
	}
	return args[0] + separator
}

// childJSON is a name as ls prints it.
type childJSON struct {
	Name           keys.Bytes `json:"name"`
	Path           keys.Bytes `json:"path"`   // the folder and the name
	Exists         bool       `json:"exists"` // there is a key of this path
	Below          keys.Bytes `json:"below"`  // the prefix of the keys in the folder of this name; "": none
	CreateRevision int64      `json:"create_revision"`
	ModRevision    int64      `json:"mod_revision"`
	Version        int64      `json:"version"`
	Size           *int       `json:"size,omitempty"` // this and what follows: with -l
	Lease          *string    `json:"lease,omitempty"`
	Remaining      any        `json:"lease_remaining_seconds,omitempty"`
}

func (l *lister) json(c *keys.Child) childJSON {
	j := childJSON{Name: keys.Bytes(c.Name), Path: keys.Bytes(c.Path), Exists: c.Key != nil, Below: keys.Bytes(c.Below)}
	kv := c.Key
	if kv == nil {
		kv = new(mvccpb.KeyValue)
	}
	k := l.print.json(kv)
	j.CreateRevision, j.ModRevision, j.Version, j.Lease, j.Remaining = k.CreateRevision, k.ModRevision, k.Version, k.Lease, k.Remaining
	if size := len(kv.Value); l.flags.long {
		j.Size = &size
	}
	return j
}

func (a *app) ls(ctx context.Context, cli *clientv3.Client, prefix string, l *lsFlags) error {
	list := &lister{app: a, flags: l, print: keyPrinter{long: l.long, keysOnly: !l.long}}
	list.records = a.out.Records(l.format, "KEY", "VERSION", "CREATED", "MODIFIED", "SIZE", "LEASE", "REMAINING")
	more := false
	for child, err := range keys.Level(ctx, cli, prefix, &keys.LevelOptions{Separator: l.separator, Revision: l.revision, Values: l.long}) {
		if err != nil {
			return err
		}
		if more = list.n == l.limit && l.limit > 0; more {
			break
		}
		if err := list.add(ctx, cli, child); err != nil {
			return err
		}
	}
	if err := list.flush(ctx, cli); err != nil {
		return err
	}
	switch {
	case more:
		a.out.Talkf("etcdkit: there are more; --limit 0 prints them all")
	case list.n == 0 && prefix == "":
		a.out.Talkf("etcdkit: there are no keys")
	case list.n == 0:
		return a.lsNothing(ctx, cli, prefix, l)
	}
	return list.records.Close()
}

// lsNothing is for a folder without a key: perhaps it is a key.
func (a *app) lsNothing(ctx context.Context, cli *clientv3.Client, prefix string, l *lsFlags) error {
	key := strings.TrimSuffix(prefix, l.separator)
	if key == "" {
		return notFoundf("no key below %q", prefix)
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	resp, err := cli.Get(ctx, key, clientv3.WithRev(l.revision))
	if err != nil {
		return err
	}
	if len(resp.Kvs) == 0 {
		return notFoundf("no key %q, and none below %q", key, prefix)
	}
	list := &lister{app: a, flags: l, print: keyPrinter{long: l.long, keysOnly: !l.long}}
	list.records = a.out.Records(l.format, "KEY", "VERSION", "CREATED", "MODIFIED", "SIZE", "LEASE", "REMAINING")
	if err := list.add(ctx, cli, &keys.Child{Name: key, Path: key, Key: resp.Kvs[0]}); err != nil {
		return err
	}
	if err := list.flush(ctx, cli); err != nil {
		return err
	}
	return list.records.Close()
}

// lister prints the children of a folder.
type lister struct {
	*app
	flags   *lsFlags
	print   keyPrinter
	records *out.Records
	waiting []*keys.Child // for the remaining time of their leases
	n       int
}

func (l *lister) add(ctx context.Context, cli *clientv3.Client, c *keys.Child) error {
	l.n++
	if l.waiting = append(l.waiting, c); l.flags.long && len(l.waiting) < keysAtOnce {
		return nil
	}
	return l.flush(ctx, cli)
}

func (l *lister) flush(ctx context.Context, cli *clientv3.Client) error {
	var kvs []*mvccpb.KeyValue
	for _, c := range l.waiting {
		if c.Key != nil {
			kvs = append(kvs, c.Key)
		}
	}
	l.print.askLeases(ctx, l.app, cli, kvs)
	for _, c := range l.waiting {
		if err := l.child(c); err != nil {
			return err
		}
	}
	l.waiting = l.waiting[:0]
	return nil
}

// child prints one name: as a key, as a folder, or as both.
func (l *lister) child(c *keys.Child) error {
	if !l.flags.format.Is(out.Table) && !l.flags.format.Is(out.Value) {
		return l.records.Add(out.Record{JSON: l.json(c)})
	}
	if c.Key != nil {
		if err := l.line(c.Path, out.Plain, c.Key); err != nil {
			return err
		}
	}
	if c.Below != "" {
		return l.line(c.Below, out.Blue, nil)
	}
	return nil
}

func (l *lister) line(path string, colour out.Colour, kv *mvccpb.KeyValue) error {
	switch {
	case l.flags.format.Is(out.Value):
		return l.records.Add(out.Record{Value: []byte(path)})
	case !l.flags.long:
		return l.out.Printf("%s\n", l.out.Palette.Paint(out.Safe(path), colour))
	}
	row := []out.Cell{{Text: out.Safe(path), Colour: colour}}
	if kv != nil {
		cells := l.print.numbers(kv)
		row = append(row, cells[:3]...)
		row = append(row, out.Cell{Text: fmt.Sprint(len(kv.Value)), Right: true})
		row = append(row, cells[3:]...)
	}
	return l.records.Add(out.Record{Row: row})
}

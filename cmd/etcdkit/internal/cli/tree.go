package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/out"
	"github.com/etcdkit/etcdkit/keys"
)

// treeFlags are those of tree.
type treeFlags struct {
	format    out.Format
	depth     int
	limit     int
	revision  int64
	separator string
	values    bool
}

func newTree(a *app) *cobra.Command {
	t := new(treeFlags)
	cmd := &cobra.Command{
		Use: "tree [FOLDER]", Short: "all that is below a prefix, as a tree",
		Long: paragraphs(
			"Prints the keys and folders below FOLDER, or of the whole cluster, as they were at one moment. A name that is a key and a folder is printed twice. What is deeper than --depth is skipped, not read.",
			"It stops after 1,000 names, and says so; --limit changes that."),
		Example: "  etcdkit tree services\n  etcdkit tree --depth 2\n  etcdkit tree config --values",
		Args:    needs("which folder?", 0, 1),
		PreRunE: func(*cobra.Command, []string) error { return t.check() },
	}
	flags := cmd.Flags()
	formatFlag(cmd, &t.format, out.Table, out.JSON, out.JSONL, out.Value, out.Template)
	flags.IntVarP(&t.depth, "depth", "L", 0, "how many levels; 0: all")
	flags.IntVar(&t.limit, "limit", 1000, "at most so many names; 0: all")
	flags.Int64Var(&t.revision, "rev", 0, "as it was at this revision")
	flags.StringVar(&t.separator, "separator", "/", "what ends the name of a folder")
	flags.BoolVar(&t.values, "values", false, "with the values and leases")
	return a.onKeys(cmd, func(ctx context.Context, cli *clientv3.Client, args []string) error {
		return a.tree(ctx, cli, folder(args, t.separator), t)
	})
}

func (t *treeFlags) check() error {
	switch {
	case t.depth < 0 || t.limit < 0 || t.revision < 0:
		return usagef("depth, limit and revision are 0 or more")
	case t.separator == "":
		return usagef("--separator is empty")
	}
	return nil
}

// nodeJSON is a name as tree prints it.
type nodeJSON struct {
	Name   keys.Bytes `json:"name"`
	Path   keys.Bytes `json:"path"`
	Depth  int        `json:"depth"`
	Folder bool       `json:"folder"`
	// The rest is that of a key, as keyJSON has it.
	CreateRevision int64       `json:"create_revision"`
	ModRevision    int64       `json:"mod_revision"`
	Version        int64       `json:"version"`
	Value          *keys.Bytes `json:"value,omitempty"` // this and the lease: with --values
	Lease          *string     `json:"lease,omitempty"`
}

func (t *treeFlags) record(n *keys.Node) out.Record {
	j := nodeJSON{Name: keys.Bytes(n.Name), Path: keys.Bytes(n.Path), Depth: n.Depth, Folder: n.Key == nil}
	if n.Key != nil {
		k := (&keyPrinter{keysOnly: !t.values}).json(n.Key)
		j.CreateRevision, j.ModRevision, j.Version, j.Value, j.Lease = k.CreateRevision, k.ModRevision, k.Version, k.Value, k.Lease
	}
	return out.Record{Value: []byte(n.Path), JSON: j}
}

func (a *app) tree(ctx context.Context, cli *clientv3.Client, prefix string, t *treeFlags) error {
	records := a.out.Records(t.format)
	var nodes []*keys.Node // of a table: a line shows whether others follow on its level
	n, folders, more := 0, 0, false
	for node, err := range keys.Tree(ctx, cli, prefix, &keys.LevelOptions{Separator: t.separator, Depth: t.depth, Revision: t.revision, Values: t.values}) {
		if err != nil {
			return err
		}
		if more = n == t.limit && t.limit > 0; more {
			break
		}
		n++
		if node.Key == nil {
			folders++
		}
		if t.format.Is(out.Table) {
			nodes = append(nodes, node)
		} else if err := records.Add(t.record(node)); err != nil {
			return err
		}
	}
	if n == 0 && prefix != "" {
		return notFoundf("no key below %q", prefix)
	}
	if t.format.Is(out.Table) {
		if err := a.draw(prefix, nodes, t); err != nil {
			return err
		}
		a.say("%s, %s", out.Count(folders, "folder"), out.Count(n-folders, "key"))
	}
	if more {
		a.out.Talkf("etcdkit: there are more; --limit 0 prints them all, --depth less")
	}
	return records.Close()
}

// draw prints the nodes as a tree.
func (a *app) draw(prefix string, nodes []*keys.Node, t *treeFlags) error {
	root := out.Safe(prefix)
	if prefix == "" {
		root = "."
	}
	if err := a.out.Printf("%s\n", a.out.Palette.Paint(root, out.Blue)); err != nil {
		return err
	}
	last := lasts(nodes)
	var open []bool // for each level above: whether others follow there
	for i, n := range nodes {
		open = append(open[:min(n.Depth-1, len(open))], !last[i])
		var line strings.Builder
		for _, follows := range open[:len(open)-1] {
			line.WriteString(map[bool]string{true: "│   ", false: "    "}[follows])
		}
		line.WriteString(map[bool]string{true: "└── ", false: "├── "}[last[i]])
		name := out.Safe(n.Name)
		if n.Key == nil {
			name = a.out.Palette.Paint(name+out.Safe(t.separator), out.Blue)
		} else if name == "" {
			name = `""` // the key is the folder's prefix itself
		}
		line.WriteString(name)
		if n.Key != nil && t.values {
			line.WriteString(" = " + out.Safe(string(n.Key.Value)))
			if n.Key.Lease != 0 {
				line.WriteString(a.out.Palette.Paint("  (lease "+out.Hex(n.Key.Lease)+")", out.Faint))
			}
		}
		if err := a.out.Printf("%s\n", line.String()); err != nil {
			return err
		}
	}
	return nil
}

// lasts tells of each node whether no other one follows in the same folder.
func lasts(nodes []*keys.Node) []bool {
	last := make([]bool, len(nodes))
	var follows []bool // by depth, seen from the end
	for i := len(nodes) - 1; i >= 0; i-- {
		depth := nodes[i].Depth
		for len(follows) < depth {
			follows = append(follows, false)
		}
		last[i] = !follows[depth-1]
		follows = append(follows[:depth-1], true)
	}
	return last
}

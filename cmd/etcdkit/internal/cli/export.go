package cli

import (
	"context"
	"errors"
	"io"

	"github.com/spf13/cobra"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/out"
	"github.com/etcdkit/etcdkit/internal/quote"
	"github.com/etcdkit/etcdkit/keys"
)

// exportFlags are those of export.
type exportFlags struct {
	file     string
	revision int64
	yes      bool
}

func (f *exportFlags) toStdout() bool { return f.file == "" || f.file == "-" }

func newExport(a *app) *cobra.Command {
	f := new(exportFlags)
	cmd := &cobra.Command{
		Annotations: lasting(),
		Use:         "export PREFIX", Short: "write keys with their leases to a file, as JSON lines",
		Long: paragraphs(
			"Writes every key that begins with PREFIX to stdout or a file, one JSON object a line, as they were at one revision. PREFIX '' is all keys. etcdkit import reads it.",
			"Keys and values are strings where they are UTF-8, and {\"base64\":\"…\"} otherwise. A key on a lease has the lease's id, its TTL and what is left of it. The first line has the cluster, the revision and the number of records, so that an import notices a file that was cut off.",
			"A file gets its name when it is whole, and only this user can read it. It asks before it replaces one. If etcd compacts the revision away meanwhile, the export begins again when it goes to a file; to stdout it fails."),
		Example: "  etcdkit export config/ > config.jsonl\n  etcdkit export '' --file all.jsonl\n  etcdkit export app/ --rev 1200 | jq -r 'select(.key) | .key'",
		Args:    needs("which prefix? '' is all keys", 1, 1),
		PreRunE: func(cmd *cobra.Command, _ []string) error {
			if f.revision < 0 {
				return usagef("--rev %d: want a revision", f.revision)
			}
			if f.toStdout() {
				return nil
			}
			return a.confirmReplace(cmd.Context(), f.yes, f.file)
		},
	}
	cmd.Flags().StringVarP(&f.file, "file", "f", "", "write to this file instead of stdout")
	yesFlag(cmd, &f.yes)
	cmd.Flags().Int64Var(&f.revision, "rev", 0, "as it was at this revision")
	return a.onKeys(cmd, func(ctx context.Context, cli *clientv3.Client, args []string) error {
		if f.toStdout() {
			return a.export(ctx, cli, args[0], a.out.Stdout(), f.revision)
		}
		return a.exportFile(ctx, cli, args[0], f)
	})
}

// mostExports is how often an export to a file begins again when its revision is compacted.
const mostExports = 3

func (a *app) exportFile(ctx context.Context, cli *clientv3.Client, prefix string, f *exportFlags) error {
	for try := 1; ; try++ {
		file, err := createFile("file", f.file)
		if err != nil {
			return err
		}
		if err = a.export(ctx, cli, prefix, file, f.revision); err == nil {
			return file.Commit()
		}
		file.Abandon()
		if !errors.Is(err, keys.ErrCompacted) || f.revision != 0 || try == mostExports {
			return err
		}
		a.out.Talkf("etcdkit: etcd has compacted the revision away; the export begins again")
	}
}

// export writes an export.
func (a *app) export(ctx context.Context, cli *clientv3.Client, prefix string, w io.Writer, revision int64) error {
	m := a.newMover("exporting")
	defer m.line.End()
	e, err := keys.OpenExport(ctx, cli, prefix, &keys.ExportOptions{Revision: revision, Waiting: m.wait})
	if err != nil {
		return err
	}
	step := func(n int64) { m.line.Setf("%d of %d keys", n, e.Count) }
	if w == a.out.Stdout() && out.IsTerminal(w) {
		step = nil
	}
	if err := e.Write(ctx, w, step); err != nil {
		return err
	}
	m.line.End()
	a.out.Talkf("etcdkit: exported %s below %s at revision %d", out.Count(int(e.Count), "key"), quote.Text(prefix), e.Revision)
	return nil
}

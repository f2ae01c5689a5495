package cli

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/out"
	"github.com/etcdkit/etcdkit/internal/quote"
	"github.com/etcdkit/etcdkit/keys"
)

// importFlags are those of import.
type importFlags struct {
	format out.Format
	opts   keys.ImportOptions
	leases string
	yes    bool
}

func newImport(a *app) *cobra.Command {
	f := new(importFlags)
	cmd := &cobra.Command{
		Annotations: lasting(),
		Use:         "import [FILE|-]", Short: "write the keys of an export, with their leases",
		Long: paragraphs(
			"Writes the keys of a file that etcdkit export made, or of JSON lines such as {\"key\":\"a\",\"value\":\"1\"}; - or no FILE is stdin. All of a file is checked before anything is written; of a pipe, the lines before a bad one are written.",
			"It reads what exists and writes only what differs, so it can be repeated, and goes on where it was interrupted. A key that exists and is different is kept, and the exit code is then 3; --overwrite writes over it, after asking. It is not one transaction.",
			"For each lease of the file a new one is granted, with its TTL. Nothing renews it once the import has ended. --leases skip leaves such keys out, --leases drop makes permanent keys of them."),
		Example: "  etcdkit import config.jsonl --dry-run\n  etcdkit import app.jsonl --prefix-from app/ --prefix-to test/\n  echo '{\"key\":\"a\",\"value\":\"1\"}' | etcdkit import --overwrite --yes",
		Args:    needs("one file at a time", 0, 1),
		PreRunE: func(cmd *cobra.Command, args []string) error { return a.checkImport(cmd, args, f) },
	}
	flags := cmd.Flags()
	formatFlag(cmd, &f.format, out.Table, out.JSON, out.JSONL, out.Template)
	flags.BoolVar(&f.opts.DryRun, "dry-run", false, "say what would be done with each key, and write nothing")
	flags.BoolVar(&f.opts.Overwrite, "overwrite", false, "write over keys that exist and are different")
	flags.StringVar(&f.opts.FromPrefix, "prefix-from", "", "what every key begins with; --prefix-to replaces it")
	flags.StringVar(&f.opts.ToPrefix, "prefix-to", "", "what keys begin with instead")
	flags.StringVar(&f.leases, "leases", string(keys.RemakeLeases), "of keys on leases: remake, skip or drop")
	flags.BoolVar(&f.opts.Partial, "partial", false, "take an export with lines left out, as by grep")
	yesFlag(cmd, &f.yes)
	return a.onCluster(cmd, func(ctx context.Context, cli *clientv3.Client, args []string) error {
		name := "-"
		if len(args) == 1 {
			name = args[0]
		}
		return transferError(a.importFrom(ctx, cli, name, f))
	})
}

// checkImport refuses what makes no sense before anything is sent.
func (a *app) checkImport(cmd *cobra.Command, args []string, f *importFlags) error {
	f.opts.Leases = keys.LeasePolicy(f.leases)
	switch f.opts.Leases {
	case keys.RemakeLeases, keys.SkipLeased, keys.DropLeases:
	default:
		return usagef("--leases %q: want remake, skip or drop", f.leases)
	}
	fromStdin := len(args) == 0 || args[0] == "-"
	if password := cmd.Flags().Lookup("password-file"); fromStdin && password != nil && password.Value.String() == "-" {
		return usagef("stdin can be the password or the records, not both")
	}
	if fromStdin && f.opts.Overwrite && !f.opts.DryRun && !f.yes {
		return usagef("--overwrite with records from stdin needs --yes: stdin cannot answer a question as well")
	}
	if fromStdin {
		return nil
	}
	info, err := os.Stat(args[0])
	if err != nil {
		return fmt.Errorf("import: %w", err)
	}
	if info.IsDir() {
		return fmt.Errorf("import: %s is a directory: want a file", args[0])
	}
	return nil
}

func (a *app) importFrom(ctx context.Context, cli *clientv3.Client, name string, f *importFlags) error {
	var r io.Reader
	if name == "-" {
		r = a.typed(ctx, "records")
	} else {
		file, err := os.Open(name)
		if err != nil {
			return err
		}
		defer file.Close()
		r = file
		if err := a.confirmImport(ctx, cli, name, file, f); err != nil {
			return err
		}
	}
	m := a.newMover("importing")
	defer m.line.End()
	m.list = f.opts.DryRun && f.format.Is(out.Table)
	opts := f.opts
	opts.Each, opts.Progress = m.each, m.progress
	counts, err := keys.Import(ctx, cli, r, &opts)
	m.line.End()
	if err != nil {
		return err
	}
	if err := a.printCounts(f.format, "import", counts, f.opts.DryRun); err != nil {
		return err
	}
	return m.keptError(counts.Kept)
}

// confirmImport asks whether to write over keys, if there are any.
func (a *app) confirmImport(ctx context.Context, cli *clientv3.Client, name string, file io.ReadSeeker, f *importFlags) error {
	if !f.opts.Overwrite || f.opts.DryRun || f.yes {
		return nil
	}
	opts := f.opts
	opts.DryRun = true
	m := a.newMover("comparing")
	defer m.line.End()
	opts.Progress = m.progress
	would, err := keys.Import(ctx, cli, file, &opts)
	if err != nil {
		return err
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	m.line.End()
	if would.Updated == 0 {
		return nil
	}
	return a.confirm(ctx, false, "write over %s with what is in %s", out.Count(int(would.Updated), "key"), quote.Text(name))
}

package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/backup"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/out"
	"github.com/etcdkit/etcdkit/internal/errtext"
	"github.com/etcdkit/etcdkit/internal/quote"
)

// savedJSON is what snapshot save has done.
type savedJSON struct {
	File string `json:"file"`
	*backup.Status
}

func newSnapshotSave(a *app) *cobra.Command {
	var format out.Format
	var yes bool
	cmd := &cobra.Command{
		Use: "save FILE", Short: "save the database of a member to a file", Args: needs("to which file?", 1, 1),
		Long: paragraphs(
			"Asks one member for its database, and checks what comes: its SHA-256, its structure, and that it has everything that was committed before. Only then the file gets its name, in place of one that has it, which it asks before. Only this user can read it: all keys and the hashes of passwords are in it.",
			"With authentication the user needs the role root. Interrupted, it leaves nothing behind."),
		Example: "  etcdkit snapshot save backup.db\n  etcdkit snapshot save backup-$(date +%F).db --context prod\n  etcdkit snapshot save backup.db -o json | jq .revision",
		PreRunE: func(cmd *cobra.Command, args []string) error {
			if err := checkDirectory("file", args[0]); err != nil {
				return err
			}
			return a.confirmReplace(cmd.Context(), yes, args[0])
		},
	}
	yesFlag(cmd, &yes)
	formatFlag(cmd, &format, out.Table, out.JSON, out.JSONL, out.Template)
	return a.onCluster(cmd, func(ctx context.Context, cli *clientv3.Client, args []string) error {
		s, err := a.saveSnapshot(ctx, cli, args[0])
		if err != nil {
			return err
		}
		if format.Is(out.Table) {
			return a.out.Resultf("%s: revision %d, %s, %s, SHA-256 ok", out.Safe(args[0]), s.Revision, out.Count(s.Keys, "key"), out.Bytes(s.Size))
		}
		return a.out.Record(format, nil, out.Record{JSON: savedJSON{args[0], s}})
	})
}

func (a *app) saveSnapshot(ctx context.Context, cli *clientv3.Client, name string) (*backup.Status, error) {
	file, err := createFile("file", name)
	if err != nil {
		return nil, err
	}
	defer file.Abandon()
	committed, err := revision(ctx, cli)
	if err != nil {
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	line := a.out.Progress()
	defer line.End()
	err = backup.Save(ctx, cli, file, func(n int64) { line.Setf("%s received", out.Bytes(n)) })
	if err != nil {
		return nil, errtext.Errorf("snapshot: %w", err)
	}
	s, err := a.checkSnapshot(ctx, file.Name())
	if err != nil {
		return nil, err
	}
	if s.Checksum != "ok" {
		return nil, fmt.Errorf("snapshot: %w: the member sent no SHA-256", backup.ErrDamaged)
	}
	if s.Revision < committed {
		return nil, fmt.Errorf("snapshot: the member lags behind: it has revision %d, and %d is committed; try again, or name another member with --endpoints", s.Revision, committed)
	}
	if err := file.Commit(); err != nil {
		return nil, fmt.Errorf("save %s: %w", quote.Text(name), err)
	}
	return s, nil
}

// revision is what etcd has come to.
func revision(ctx context.Context, cli *clientv3.Client) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	resp, err := cli.Get(ctx, "\x00", clientv3.WithKeysOnly())
	if err != nil {
		return 0, err
	}
	return resp.Header.Revision, nil
}

package cli

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/backup"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/out"
	"github.com/etcdkit/etcdkit/internal/quote"
)

func newSnapshot(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "snapshot", Short: "save the whole database to a file, check such a file, restore it",
		Long: paragraphs(
			"A snapshot is the database of a member: all keys with their history, leases, users and roles. It is what to restore a cluster from that has lost its quorum for good. The files are those of etcdctl snapshot save and etcdutl.",
			"To move keys between clusters that go on, use etcdkit export or copy: restoring a snapshot makes a new cluster."),
		Example: "  etcdkit snapshot save backup.db\n  etcdkit snapshot status backup.db\n  etcdkit snapshot restore backup.db --data-dir /var/lib/etcd-restored",
		Args:    unknownCommand,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newSnapshotSave(a), newSnapshotStatus(a), newSnapshotRestore(a))
	return cmd
}

func newSnapshotStatus(a *app) *cobra.Command {
	var format out.Format
	cmd := &cobra.Command{
		Use: "status FILE", Short: "what is in a snapshot, and whether it is whole", Args: needs("which file?", 1, 1),
		Long:    paragraphs("Reads all of the file and checks its structure and its SHA-256. A file that was copied from a data directory has no SHA-256. A damaged file is exit code 1. No cluster is asked."),
		Example: "  etcdkit snapshot status backup.db\n  etcdkit snapshot status backup.db -o json\n  etcdkit snapshot status backup.db -o template='{{.revision}}'",
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.checkSnapshot(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.out.Record(format, []string{"REVISION", "KEYS", "SIZE", "HASH", "VERSION", "SHA-256"}, out.Record{
				Row: []out.Cell{
					{Text: fmt.Sprint(s.Revision)}, {Text: fmt.Sprint(s.Keys)}, {Text: out.Bytes(s.Size)}, {Text: s.Hash}, {Text: out.Safe(s.Version)}, {Text: s.Checksum},
				},
				JSON: s,
			})
		},
	}
	formatFlag(cmd, &format, out.Table, out.JSON, out.JSONL, out.Template)
	return cmd
}

// checkSnapshot reads a snapshot to its end.
func (a *app) checkSnapshot(ctx context.Context, name string) (*backup.Status, error) {
	line := a.out.Progress()
	defer line.End()
	line.Setf("checking %s", out.Safe(name))
	s, err := backup.Check(ctx, name)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("snapshot: %w", err)
	case err != nil:
		return nil, interrupted(ctx, fmt.Errorf("snapshot %s: %w", quote.Text(name), err))
	}
	return s, nil
}

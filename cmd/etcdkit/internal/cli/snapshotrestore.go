package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/backup"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/out"
	"github.com/etcdkit/etcdkit/internal/quote"
)

func newSnapshotRestore(a *app) *cobra.Command {
	r := new(backup.Restore)
	cmd := &cobra.Command{
		Use: "restore FILE --data-dir DIR", Short: "make the data directory of a new cluster of a snapshot",
		Long: paragraphs(
			"Makes a data directory for a member of a new cluster, which has the keys of the snapshot, their history, and users and roles. Nothing is sent to a cluster, and a directory that has something in it is refused. By default the new cluster has one member, on localhost. For more members, restore the same file once for each, with its --name and --initial-advertise-peer-urls and the same --initial-cluster.",
			"The new cluster's revisions begin at the snapshot's: clients that have seen later ones would see time go backwards. --bump-revision with --mark-compacted, as of etcdutl, lets revisions go on above those: choose a number greater than the writes since the snapshot."),
		Example: "  etcdkit snapshot restore backup.db --data-dir restored\n  etcdkit snapshot restore backup.db --data-dir restored \\\n      --bump-revision 1000000000 --mark-compacted\n  etcdkit snapshot restore backup.db --data-dir /var/lib/etcd --name m1 \\\n      --initial-cluster m1=http://10.0.0.1:2380,m2=http://10.0.0.2:2380 \\\n      --initial-advertise-peer-urls http://10.0.0.1:2380",
		Args:    needs("which file?", 1, 1),
		PreRunE: func(*cobra.Command, []string) error { return checkRestore(r) },
		RunE: func(cmd *cobra.Command, args []string) error {
			r.File = args[0]
			return a.restore(cmd.Context(), r)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&r.DataDir, "data-dir", "", "the directory to make (required)")
	flags.StringVar(&r.WALDir, "wal-dir", "", "a directory of its own for the write-ahead log")
	flags.StringVar(&r.Name, "name", "default", "the member's name")
	flags.StringVar(&r.InitialCluster, "initial-cluster", "", "all members, as NAME=PEER-URL,… (default: this one alone)")
	flags.StringSliceVar(&r.PeerURLs, "initial-advertise-peer-urls", []string{"http://localhost:2380"}, "this member's peer URLs")
	flags.StringVar(&r.Token, "initial-cluster-token", "etcd-cluster", "a name for the new cluster")
	flags.BoolVar(&r.SkipHashCheck, "skip-hash-check", false, "take a file without SHA-256, copied from a data directory")
	flags.Uint64Var(&r.BumpRevision, "bump-revision", 0, "let revisions go on so much higher")
	flags.BoolVar(&r.MarkCompacted, "mark-compacted", false, "count what is below as compacted; goes with --bump-revision")
	return cmd
}

// checkRestore refuses what makes no sense before anything is written.
func checkRestore(r *backup.Restore) error {
	switch {
	case r.DataDir == "":
		return usagef("to which directory? as in: --data-dir restored")
	case r.Name == "":
		return usagef("--name: want the member's name")
	case (r.BumpRevision > 0) != r.MarkCompacted:
		return usagef("--bump-revision and --mark-compacted go together")
	case r.BumpRevision > 1<<62:
		return usagef("--bump-revision %d: want less than 2⁶²", r.BumpRevision)
	}
	if r.InitialCluster == "" {
		var all []string
		for _, u := range r.PeerURLs {
			all = append(all, r.Name+"="+u)
		}
		r.InitialCluster = strings.Join(all, ",")
	}
	if !slices.Contains(memberNames(r.InitialCluster), r.Name) {
		return usagef("--name %q is not in --initial-cluster %s", r.Name, r.InitialCluster)
	}
	return nil
}

// memberNames are the members of an --initial-cluster, where one with several peer URLs stands several times.
func memberNames(cluster string) []string {
	var names []string
	for member := range strings.SplitSeq(cluster, ",") {
		if name, _, _ := strings.Cut(member, "="); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

func (a *app) restore(ctx context.Context, r *backup.Restore) error {
	if info, err := os.Stat(r.File); err == nil && info.IsDir() {
		return fmt.Errorf("snapshot: %s is a directory: want a file", r.File)
	}
	line := a.out.Progress()
	defer line.End()
	var s *backup.Status
	var err error
	if s, err = a.checkSnapshot(ctx, r.File); err != nil {
		return err
	}
	line.Setf("restoring %s", out.Bytes(s.Size))
	if err := r.Run(ctx); err != nil {
		if errors.Is(err, backup.ErrExists) {
			return &usageError{err}
		}
		return interrupted(ctx, fmt.Errorf("restore %s: %w", quote.Text(r.File), err))
	}
	line.End()
	if err := a.out.Resultf("%s: revision %d, %s", out.Safe(r.DataDir), s.Revision+int64(r.BumpRevision), out.Count(s.Keys, "key")); err != nil {
		return err
	}
	a.nextAfterRestore(r)
	return nil
}

// nextAfterRestore says what to do next.
func (a *app) nextAfterRestore(r *backup.Restore) {
	start := fmt.Sprintf("etcdkit etcd --name %s --data-dir %s", r.Name, r.DataDir)
	if r.WALDir != "" {
		start += " --wal-dir " + r.WALDir
	}
	if !slices.Equal(r.PeerURLs, []string{"http://localhost:2380"}) {
		start += " --listen-peer-urls " + strings.Join(r.PeerURLs, ",")
	}
	if n := len(memberNames(r.InitialCluster)); n > 1 {
		a.say("next: restore the same file for the other members, with their --name and peer URLs; then start all %d, this one with", n)
	} else {
		a.say("next: start the member, and add more later, with etcdkit ctl member add:")
	}
	a.out.Talkf("  %s", start)
	if r.BumpRevision == 0 {
		a.say("clients that have seen later revisions than the snapshot's must be restarted; --bump-revision avoids that")
	}
}

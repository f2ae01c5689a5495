package backup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"go.etcd.io/etcd/etcdutl/v3/snapshot"
	"go.uber.org/zap"
)

// Restore says how a snapshot becomes the data directory of a member of a new cluster.
type Restore struct {
	File    string
	DataDir string // must not exist, or be empty
	WALDir  string // must not exist; "": in DataDir

	Name           string
	PeerURLs       []string
	InitialCluster string
	Token          string

	SkipHashCheck bool
	BumpRevision  uint64 // with MarkCompacted
	MarkCompacted bool
}

// ErrExists: the directory exists, and is not an empty data directory.
var ErrExists = errors.New("exists: name another one, or remove it")

// Run restores the snapshot. The data directory gets its name when it is complete: when Run fails, or is killed, there
// is none of that name.
func (r *Restore) Run(ctx context.Context) (err error) {
	if err := r.check(); err != nil {
		return err
	}
	dataDir := filepath.Clean(r.DataDir) // a slash at its end would make it its own parent
	if err := os.MkdirAll(filepath.Dir(dataDir), 0o700); err != nil {
		return err
	}
	unfinished, err := os.MkdirTemp(filepath.Dir(dataDir), filepath.Base(dataDir)+".restoring-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(unfinished))
			if r.WALDir != "" {
				err = errors.Join(err, os.RemoveAll(r.WALDir))
			}
		}
	}()
	if err := r.upstream(unfinished); err != nil {
		return err
	}
	if ctx.Err() != nil { // upstream's code cannot be interrupted
		return context.Cause(ctx)
	}
	if err := os.Remove(dataDir); err != nil && !errors.Is(err, fs.ErrNotExist) { // an empty one
		return err
	}
	return os.Rename(unfinished, dataDir)
}

// check refuses directories that exist.
func (r *Restore) check() error {
	for _, dir := range []string{r.DataDir, r.WALDir} {
		if dir == "" {
			continue
		}
		found, err := os.ReadDir(dir)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return err
		case len(found) > 0 || dir == r.WALDir:
			return fmt.Errorf("%s %w", dir, ErrExists)
		}
	}
	return nil
}

func (r *Restore) upstream(dir string) (err error) {
	defer func() { // bbolt does so with a file that is not its own
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", ErrDamaged, p)
		}
	}()
	err = snapshot.NewV3(zap.NewNop()).Restore(snapshot.RestoreConfig{
		SnapshotPath: r.File, OutputDataDir: dir, OutputWALDir: r.WALDir, Name: r.Name, PeerURLs: r.PeerURLs,
		InitialCluster: r.InitialCluster, InitialClusterToken: r.Token,
		SkipHashCheck: r.SkipHashCheck, RevisionBump: r.BumpRevision, MarkCompacted: r.MarkCompacted,
	})
	if err != nil && strings.Contains(err.Error(), "snapshot missing hash") {
		return errors.New("the file has no checksum, as one that was copied from a data directory: --skip-hash-check takes it")
	}
	return err
}

package cluster

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/coreos/go-semver/semver"
	"go.etcd.io/etcd/api/v3/version"
	"go.etcd.io/etcd/client/pkg/v3/fileutil"
)

const (
	recordFile = "cluster.json"
	lockFile   = "lock"
)

// record is cluster.json: what the next Start on this directory has to agree with.
type record struct {
	Etcd  string `json:"etcd"`
	Token string `json:"token"`
	// Served is false until the cluster was ready once. Before that no client can have
	// written anything, so what an interrupted bootstrap left behind may be thrown away.
	Served  bool         `json:"served"`
	Members []portRecord `json:"members"`
}

// portRecord keeps a member's ports: etcd stores peer addresses in its data.
type portRecord struct {
	Name   string `json:"name"`
	Client int    `json:"client"`
	Peer   int    `json:"peer"`
}

// dataDir is a directory that this process has locked.
type dataDir struct {
	path   string
	lock   *fileutil.LockedFile
	record record
	reused bool // a cluster has served from here before
}

// openDataDir checks the directory against what is asked for, and locks it. On an error it has
// changed nothing that was there.
func openDataDir(path string, members int) (*dataDir, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("%w %q: %w", ErrDataDir, path, err)
	}
	if err := recognise(path); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("%w %s cannot be created; choose another with --data-dir: %w", ErrDataDir, path, err)
	}
	lock, err := lockDir(path)
	if err != nil {
		return nil, err
	}
	d := &dataDir{path: path, lock: lock}
	if err := d.load(members); err != nil {
		lock.Close()
		return nil, err
	}
	return d, nil
}

// recognise refuses a directory that holds something else than a cluster of ours.
func recognise(path string) error {
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%w %s cannot be read; choose another with --data-dir: %w", ErrDataDir, path, err)
	}
	if !info.IsDir() {
		return fmt.Errorf("%w %s is a file; name a directory", ErrDataDir, path)
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return fmt.Errorf("%w %s cannot be read; choose another with --data-dir: %w", ErrDataDir, path, err)
	}
	for _, e := range entries {
		if e.Name() == recordFile || e.Name() == lockFile {
			return nil
		}
	}
	if len(entries) > 0 {
		return fmt.Errorf("%w %s holds %q and no %s, so it is not a cluster's; name an empty or new directory", ErrDataDir, path, entries[0].Name(), recordFile)
	}
	return nil
}

func lockDir(path string) (*fileutil.LockedFile, error) {
	name := filepath.Join(path, lockFile)
	lock, err := fileutil.TryLockFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if errors.Is(err, fileutil.ErrLocked) {
		holder := "a running cluster"
		if pid, rerr := os.ReadFile(name); rerr == nil && len(pid) > 0 {
			holder += " (pid " + strings.TrimSpace(string(pid)) + ")"
		}
		return nil, fmt.Errorf("%w %s is in use by %s; stop it first, or choose another with --data-dir", ErrDataDir, path, holder)
	}
	if err != nil {
		return nil, fmt.Errorf("%w %s is not writable; change its permissions or choose another with --data-dir: %w", ErrDataDir, path, err)
	}
	if err = lock.Truncate(0); err == nil {
		_, err = fmt.Fprintln(lock, os.Getpid())
	}
	if err != nil {
		lock.Close()
		return nil, fmt.Errorf("%w %s cannot be written; free space on its disk or choose another with --data-dir: %w", ErrDataDir, path, err)
	}
	return lock, nil
}

// load reads cluster.json, or begins a new one.
func (d *dataDir) load(members int) error {
	b, err := os.ReadFile(filepath.Join(d.path, recordFile))
	if errors.Is(err, os.ErrNotExist) {
		d.record = record{Etcd: version.Version, Token: "etcdkit-" + rand.Text()}
		return nil
	}
	if err != nil {
		return fmt.Errorf("%w %s: %w", ErrDataDir, d.path, err)
	}
	if err := json.Unmarshal(b, &d.record); err != nil {
		return fmt.Errorf("%w %s: %s is damaged; restore it or choose another directory: %w", ErrDataDir, d.path, recordFile, err)
	}
	if err := d.compatible(members); err != nil {
		return err
	}
	d.reused = d.record.Served
	return nil
}

func (d *dataDir) compatible(members int) error {
	wrote, err := semver.NewVersion(d.record.Etcd)
	if err != nil {
		return fmt.Errorf("%w %s: %s names no etcd version: %w", ErrDataDir, d.path, recordFile, err)
	}
	ours := semver.Must(semver.NewVersion(version.Version))
	if wrote.Major != ours.Major || wrote.Minor > ours.Minor || ours.Minor-wrote.Minor > 1 {
		return fmt.Errorf("%w %s was written by etcd %s and this is %s; etcd reads its own and the previous minor version: use a matching etcdkit or another directory", ErrDataDir, d.path, d.record.Etcd, version.Version)
	}
	if n := len(d.record.Members); d.record.Served && n != members {
		return fmt.Errorf("%w %s holds a cluster of %d members and %d were asked for; use --members %d or another directory", ErrDataDir, d.path, n, members, n)
	}
	return nil
}

// save writes cluster.json whole or not at all.
func (d *dataDir) save() error {
	b, err := json.MarshalIndent(&d.record, "", "  ")
	if err != nil {
		return err
	}
	name := filepath.Join(d.path, recordFile)
	if err := os.WriteFile(name+".new", append(b, '\n'), 0o600); err != nil {
		return fmt.Errorf("%w %s: %w", ErrDataDir, d.path, err)
	}
	if err := os.Rename(name+".new", name); err != nil {
		return fmt.Errorf("%w %s: %w", ErrDataDir, d.path, err)
	}
	return nil
}

// discardBootstrap removes what a Start that never became ready left behind.
func (d *dataDir) discardBootstrap() error {
	for _, m := range d.record.Members {
		if err := os.RemoveAll(filepath.Join(d.path, m.Name)); err != nil {
			return fmt.Errorf("%w %s: remove the interrupted bootstrap: %w", ErrDataDir, d.path, err)
		}
	}
	return nil
}

package cluster

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/coreos/go-semver/semver"
	"go.etcd.io/etcd/api/v3/version"
	"go.etcd.io/etcd/client/pkg/v3/fileutil"

	"github.com/etcdkit/etcdkit/internal/errtext"
	"github.com/etcdkit/etcdkit/internal/wholefile"
)

const (
	recordFile = "cluster.json"
	lockFile   = ".etcdkit.lock"
	// copyFile is a second cluster.json, for one that was emptied.
	copyFile = "cluster.json.copy"
)

// record is cluster.json: what the next Start on this directory has to agree with.
type record struct {
	Etcd  string `json:"etcd"`
	Token string `json:"token"`
	// Served is false until the cluster was ready once, and the client ports stay closed until
	// it is saved as true. So what an interrupted bootstrap left behind holds no client's data.
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
	kept   bool // it is not temporary
}

// openDataDir checks the directory against what is asked for, and locks it. On an error it has
// changed nothing that was there.
func openDataDir(path string, members int, kept bool) (*dataDir, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, errtext.Errorf("%w %q: %w", ErrDataDir, path, err)
	}
	path = abs
	if _, err := readRecord(path, members); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, errtext.Errorf("%w %s cannot be created; choose another directory: %w", ErrDataDir, path, err)
	}
	d := &dataDir{path: path, kept: kept}
	if d.lock, err = lockDir(path); err != nil {
		return nil, err
	}
	r, err := readRecord(path, members) // again: until now another process could have had the lock
	if err == nil {
		err = d.membersFree(r)
	}
	if err != nil {
		d.lock.Close()
		return nil, err
	}
	if r == nil {
		r = &record{Token: "etcdkit-" + rand.Text()}
	}
	d.record, d.reused = *r, r.Served
	return d, nil
}

// readRecord reads and checks cluster.json without touching anything. It is nil, nil where a
// new cluster may be made: there is no directory, or nothing in it.
func readRecord(path string, members int) (*record, error) {
	if err := rejectSymlinks(path); err != nil {
		return nil, err
	}
	file := recordFile
	b, err := os.ReadFile(filepath.Join(path, file))
	if errors.Is(err, os.ErrNotExist) {
		return nil, checkEmpty(path)
	}
	// A file system that lost its power may leave a file empty, or with zeros in it.
	if err == nil && len(bytes.Trim(b, "\x00\n ")) == 0 {
		file = copyFile
		if b, err = os.ReadFile(filepath.Join(path, file)); errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("%w %s: %s is empty, and there is no %s to go on with; restore one of them, or move the directory away to begin with an empty cluster", ErrDataDir, path, recordFile, copyFile)
		}
	}
	if errors.Is(err, syscall.ENOTDIR) {
		return nil, fmt.Errorf("%w %s is not a directory, or below something that is not; name another", ErrDataDir, path)
	}
	if err != nil {
		return nil, errtext.Errorf("%w %s cannot be read; choose another directory: %w", ErrDataDir, path, err)
	}
	var r record
	if err := json.Unmarshal(b, &r); err != nil {
		if file == copyFile {
			return nil, errtext.Errorf("%w %s: %s is empty, and %s is damaged: %w; restore one of them, or choose another directory", ErrDataDir, path, recordFile, file, err)
		}
		return nil, errtext.Errorf("%w %s: %s is damaged: %w; if %s is not, copy that over it, or choose another directory", ErrDataDir, path, file, err, copyFile)
	}
	if n := len(r.Members); n > maxMembers {
		return nil, fmt.Errorf("%w %s: %s is damaged or not etcdkit's: it has %d members, and %d are the most; restore it or choose another directory", ErrDataDir, path, file, n, maxMembers)
	}
	for i, m := range r.Members {
		if m.Name != memberName(i) {
			return nil, fmt.Errorf("%w %s: %s is damaged or not etcdkit's: member %d is called %q; restore it or choose another directory", ErrDataDir, path, file, i+1, m.Name)
		}
	}
	return &r, r.compatible(path, file, members)
}

// checkEmpty refuses a directory that holds anything but the lock and empty directories for members
// (mount points).
func checkEmpty(path string) error {
	entries, err := os.ReadDir(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return errtext.Errorf("%w %s cannot be read; choose another directory: %w", ErrDataDir, path, err)
	}
	for _, e := range entries {
		if e.Name() == lockFile || wholefile.IsUnfinished(e.Name(), recordFile) {
			continue
		}
		if e.Name() == copyFile {
			return fmt.Errorf("%w %s holds %s and no %s; copy the first to the second, or name an empty or new directory", ErrDataDir, path, copyFile, recordFile)
		}
		if below, err := os.ReadDir(filepath.Join(path, e.Name())); err == nil && len(below) == 0 && isMember(e.Name()) {
			continue
		}
		return fmt.Errorf("%w %s holds %q and no %s, so it is not a cluster's; name an empty or new directory", ErrDataDir, path, e.Name(), recordFile)
	}
	return nil
}

// rejectSymlinks refuses a directory in which a symbolic link leads out: members write and delete below their
// names, and a user that unpacks an archive and starts a cluster on it must lose nothing by that. A
// member's data on another disk is a mount point.
func rejectSymlinks(path string) error {
	names := []string{recordFile, copyFile}
	for i := range maxMembers {
		names = append(names, memberName(i), memberName(i)+".log")
	}
	for _, name := range names {
		err := filepath.WalkDir(filepath.Join(path, name), func(at string, d fs.DirEntry, err error) error {
			if err == nil && d.Type()&fs.ModeSymlink != 0 {
				err = fmt.Errorf("%w %s: %s is a symbolic link; replace it by what it leads to (data on another disk: by a mount point), or choose another directory", ErrDataDir, path, at)
			}
			return err
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
			if !errors.Is(err, ErrDataDir) {
				err = errtext.Errorf("%w %s cannot be read; choose another directory: %w", ErrDataDir, path, err)
			}
			return err
		}
	}
	return nil
}

func isMember(name string) bool {
	for i := range maxMembers {
		if name == memberName(i) {
			return true
		}
	}
	return false
}

func (r *record) compatible(path, file string, members int) error {
	wrote, err := semver.NewVersion(r.Etcd)
	if err != nil {
		return errtext.Errorf("%w %s: %s names no etcd version: %w", ErrDataDir, path, file, err)
	}
	own := semver.Must(semver.NewVersion(version.Version))
	if wrote.Major != own.Major || wrote.Minor > own.Minor || own.Minor-wrote.Minor > 1 {
		return fmt.Errorf("%w %s was written by etcd %s and this is %s; etcd reads its own and the previous minor version: use a matching etcdkit or another directory", ErrDataDir, path, r.Etcd, version.Version)
	}
	if n := len(r.Members); r.Served && n != members {
		return fmt.Errorf("%w %s holds a cluster of %d members and %d were asked for; ask for %d, or use another directory", ErrDataDir, path, n, members, n)
	}
	return nil
}

// orphanTimeout is how long the lock of a process that was killed may last: a child that it was just
// starting has the lock until it has become a member.
const orphanTimeout = 2 * time.Second

// lockHolder is the pid in a lock file, or 0.
func lockHolder(name string) int {
	b, _ := os.ReadFile(name) // not there: none
	pid, _ := strconv.Atoi(strings.TrimSpace(string(b)))
	return pid
}

func lockDir(path string) (*fileutil.LockedFile, error) {
	name := filepath.Join(path, lockFile)
	if info, err := os.Lstat(name); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%w %s: its %s is not a plain file; remove it or choose another directory", ErrDataDir, path, lockFile)
	}
	lock, err := fileutil.TryLockFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	for begin := time.Now(); errors.Is(err, fileutil.ErrLocked) && hasEnded(lockHolder(name)) && time.Since(begin) < orphanTimeout; {
		<-time.After(10 * time.Millisecond)
		lock, err = fileutil.TryLockFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	}
	if errors.Is(err, fileutil.ErrLocked) {
		holder := "a running cluster"
		if pid := lockHolder(name); pid != 0 {
			holder += fmt.Sprintf(" (pid %d)", pid)
		}
		return nil, fmt.Errorf("%w %s is in use by %s; stop it first, or choose another directory", ErrDataDir, path, holder)
	}
	if err != nil {
		return nil, errtext.Errorf("%w %s is not writable; change its permissions or choose another directory: %w", ErrDataDir, path, err)
	}
	if err = lock.Truncate(0); err == nil {
		_, err = fmt.Fprintln(lock, os.Getpid())
	}
	if err != nil {
		lock.Close()
		return nil, errtext.Errorf("%w %s cannot be written; free space on its disk or choose another directory: %w", ErrDataDir, path, err)
	}
	return lock, nil
}

// membersFree refuses data that another etcd has open: a member would wait for it without end.
func (d *dataDir) membersFree(r *record) error {
	if r == nil {
		return nil
	}
	for _, m := range r.Members {
		db, err := fileutil.TryLockFile(filepath.Join(d.path, m.Name, "member", "snap", "db"), os.O_RDWR, 0o600)
		if errors.Is(err, fileutil.ErrLocked) {
			return fmt.Errorf("%w %s: another etcd process has the data of %s open; stop it first", ErrDataDir, d.path, m.Name)
		}
		if err == nil {
			db.Close()
		}
	}
	return nil
}

// save writes cluster.json and its copy, each whole or not at all, and one after the other, so that no
// loss of power takes both.
func (d *dataDir) save() error {
	b, err := json.MarshalIndent(&d.record, "", "  ")
	if err != nil {
		return err
	}
	write := wholefile.Write
	if d.kept {
		write = wholefile.WriteDurable
	}
	for _, name := range []string{recordFile, copyFile} {
		name = filepath.Join(d.path, name)
		wholefile.RemoveUnfinished(name, 0) // the directory is locked: no other process writes it
		if err := write(name, append(b, '\n')); err != nil {
			return errtext.Errorf("%w %s: %w", ErrDataDir, d.path, err)
		}
	}
	return nil
}

// discardBootstrap removes what a Start that never became ready left behind.
func (d *dataDir) discardBootstrap() error {
	for _, m := range d.record.Members {
		if err := os.RemoveAll(filepath.Join(d.path, m.Name, "member")); err != nil {
			return errtext.Errorf("%w %s: remove the interrupted bootstrap of %s: %w", ErrDataDir, d.path, m.Name, err)
		}
	}
	return nil
}

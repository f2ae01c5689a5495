package wholefile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// usual is the mode of a file that is new.
const usual fs.FileMode = 0o644

// Prepare writes the new content of a file, so that it can be looked at before it counts. It has the mode and the owner
// of the old one; perm, unless it is 0, is its mode instead. A file that is new has the mode 0644, whatever the umask. If
// name is a symbolic link, what it leads to is replaced, and the link stays. What is not a regular file cannot be
// replaced.
func Prepare(name string, b []byte, perm fs.FileMode) (_ *File, err error) {
	if name, err = Target(name); err != nil {
		return nil, err
	}
	old, err := os.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		old = nil
	case err != nil:
		return nil, err
	case !old.Mode().IsRegular():
		return nil, &fs.PathError{Op: "replace", Path: name, Err: errors.New("it is not a regular file")}
	}
	if perm == 0 {
		if perm = usual; old != nil {
			perm = old.Mode().Perm()
		}
	}
	f, err := Create(name)
	if err != nil {
		return nil, err
	}
	if _, err = f.Write(b); err == nil && old != nil {
		if err = keepOwner(f.File, old); err != nil {
			err = fmt.Errorf("replace %s: keep its owner: %w", name, err)
		}
	}
	if err == nil {
		err = f.Chmod(perm)
	}
	if err = errors.Join(err, f.finish(true)); err != nil {
		f.Abandon()
		return nil, err
	}
	return f, nil
}

// Target is the file that a name means, where symbolic links lead to. It need not exist, but a link to nothing is
// an error.
func Target(name string) (string, error) {
	info, err := os.Lstat(name)
	if err != nil || info.Mode()&fs.ModeSymlink == 0 {
		return name, nil // what is wrong with it is for others to find
	}
	return filepath.EvalSymlinks(name)
}

// Package wholefile replaces files in one step: a reader gets the old content or the new one, and never a part.
//
// The new content is written under another name in the same directory, and renamed. A process that
// is killed in between leaves that file, which RemoveUnfinished removes.
package wholefile

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// unfinished ends the name of a file that is being written.
const unfinished = ".tmp"

// Write replaces a file by one with content b, which only this user can read. If name is a symbolic link, the
// link is replaced, and not what it leads to. A loss of power may leave the file empty: see WriteDurable.
func Write(name string, b []byte) error {
	return write(name, b, func(*os.File) error { return nil })
}

// WriteDurable is Write, and when it returns, the file is on the disk under its name.
func WriteDurable(name string, b []byte) error {
	if err := write(name, b, (*os.File).Sync); err != nil {
		return err
	}
	return syncDir(filepath.Dir(name))
}

// write calls finish on the file before it gets its name.
func write(name string, b []byte, finish func(*os.File) error) (err error) {
	// CreateTemp makes a new file, mode 0600, so no link under its name leads elsewhere.
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*"+unfinished)
	if err != nil {
		return err
	}
	if _, err = f.Write(b); err == nil {
		err = finish(f)
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

// syncDir makes the names in a directory durable. Windows cannot do that.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// IsUnfinished tells whether a file's name is one under which Write writes a file that will be called name.
// Both are without a directory.
func IsUnfinished(file, name string) bool {
	rest, ok := strings.CutPrefix(file, name+".")
	number, unfinished := strings.CutSuffix(rest, unfinished)
	return ok && unfinished && number != "" && strings.Trim(number, "0123456789") == ""
}

// RemoveUnfinished removes what processes left that were killed while they wrote the file. A file that
// changed less than age ago stays: another process may be writing it.
func RemoveUnfinished(name string, age time.Duration) {
	entries, _ := os.ReadDir(filepath.Dir(name)) // no directory: nothing to remove
	for _, e := range entries {
		if !IsUnfinished(e.Name(), filepath.Base(name)) {
			continue
		}
		if info, err := e.Info(); err == nil && time.Since(info.ModTime()) >= age {
			_ = os.Remove(filepath.Join(filepath.Dir(name), e.Name()))
		}
	}
}

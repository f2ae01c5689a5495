// Package wholefile replaces files in one step: a reader gets the old content or the new one, and never a part.
//
// The new content is written under another name in the same directory, and renamed. A process that
// is killed in between leaves that file, which RemoveUnfinished removes. Prepare leaves the second step to its caller.
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
func Write(name string, b []byte) error { return write(name, b, false) }

// WriteDurable is Write, and when it returns, the file is on the disk under its name.
func WriteDurable(name string, b []byte) error { return write(name, b, true) }

func write(name string, b []byte, durable bool) error {
	f, err := Create(name)
	if err != nil {
		return err
	}
	defer f.Abandon()
	if _, err := f.Write(b); err != nil {
		return err
	}
	return f.commit(durable)
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

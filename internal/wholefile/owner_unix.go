//go:build unix

package wholefile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// keepOwner gives a file the owner and the group of another one.
func keepOwner(f *os.File, old fs.FileInfo) error {
	want, ok := old.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if is, ok := info.Sys().(*syscall.Stat_t); ok && is.Uid == want.Uid && is.Gid == want.Gid {
		return nil
	}
	return f.Chown(int(want.Uid), int(want.Gid))
}

// busy explains that a file which is mounted by itself, as containers do, cannot be replaced.
func busy(name string, err error) error {
	if errors.Is(err, syscall.EBUSY) {
		return fmt.Errorf("replace %s: it is mounted by itself: mount its directory instead: %w", name, err)
	}
	return err
}

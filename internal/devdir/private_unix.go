//go:build unix

package devdir

import (
	"io/fs"
	"os"
	"syscall"
)

// private tells whether only this user can read and change what is in a directory.
func private(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(stat.Uid) == os.Getuid() && info.Mode().Perm()&0o077 == 0
}

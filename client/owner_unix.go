//go:build unix

package client

import (
	"io/fs"
	"os"
	"syscall"
)

// ownersAlone tells that only this user can change what is in a directory.
func ownersAlone(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(stat.Uid) == os.Getuid() && info.Mode().Perm()&0o077 == 0
}

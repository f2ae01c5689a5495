//go:build !unix

package devdir

import "io/fs"

// private: the mode does not tell it here. The temporary directory is the user's own.
func private(fs.FileInfo) bool { return true }

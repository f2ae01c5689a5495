package main

import "io/fs"

// ownersAlone: the temporary directory is the user's own on Windows.
func ownersAlone(fs.FileInfo) bool { return true }

package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// checkDirectory tells early that a file cannot be written; what is the file in words.
func checkDirectory(what, name string) error {
	if name == "" {
		return nil
	}
	info, err := os.Stat(filepath.Dir(name))
	if err == nil && !info.IsDir() {
		err = errors.New("not a directory")
	}
	if err != nil {
		return fmt.Errorf("%s %s: its directory: %w", what, name, err)
	}
	if info, err := os.Stat(name); err == nil && info.IsDir() {
		return fmt.Errorf("%s %s: is a directory: want a file", what, name)
	}
	return nil
}

// checkReadyFile tells early that a ready file cannot be written, or would replace what is no file, as a
// device or a link: the ready file gets its name when it is complete, and is removed at the end.
func checkReadyFile(name string) error {
	const what = "ready file"
	if err := checkDirectory(what, name); err != nil {
		return err
	}
	if info, err := os.Lstat(name); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("%s %s: is not a regular file: name another one", what, name)
	}
	return nil
}

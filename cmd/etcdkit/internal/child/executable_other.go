//go:build !linux

package child

import "os"

// executable is the file of the program that this process runs.
func executable() (string, error) { return os.Executable() }

func nameProcess() {}

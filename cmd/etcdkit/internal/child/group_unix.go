//go:build unix

package child

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

func forwarded() []os.Signal {
	return append(TerminationSignals(), syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2)
}

// atTerminal tells whether this process is in the foreground of a terminal: then the command stays in the
// same process group, which has the terminal.
func atTerminal() bool {
	for _, f := range []*os.File{os.Stdin, os.Stdout, os.Stderr} {
		if group, err := unix.IoctlGetInt(int(f.Fd()), unix.TIOCGPGRP); err == nil && group == unix.Getpgrp() {
			return true
		}
	}
	return false
}

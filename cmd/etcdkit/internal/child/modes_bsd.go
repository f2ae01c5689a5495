//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package child

import "golang.org/x/sys/unix"

// The requests for a terminal's modes. What was typed and not read is kept.
const getModes, setModes = unix.TIOCGETA, unix.TIOCSETA

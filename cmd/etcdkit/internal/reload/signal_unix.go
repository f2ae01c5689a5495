//go:build unix

package reload

import (
	"fmt"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// parseSignal reads HUP or SIGHUP. KILL and STOP are no news that a command could learn.
func parseSignal(name string) (os.Signal, error) {
	s := unix.SignalNum("SIG" + strings.TrimPrefix(strings.ToUpper(name), "SIG"))
	if s == 0 || s == syscall.SIGKILL || s == syscall.SIGSTOP {
		return nil, fmt.Errorf("%q is not a signal that can be sent: want HUP, USR1, USR2, …", name)
	}
	return s, nil
}

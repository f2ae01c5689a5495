//go:build unix

package child

import (
	"time"

	"golang.org/x/sys/unix"
)

// bootTime reads the clock of the deadlines. It is the same in all processes of the machine.
func bootTime() time.Duration {
	var now unix.Timespec
	if err := unix.ClockGettime(clockID, &now); err != nil {
		panic("child: clock_gettime: " + err.Error()) // each system has had this clock for long
	}
	return time.Duration(now.Nano())
}

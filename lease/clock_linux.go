package lease

import (
	"time"

	"golang.org/x/sys/unix"
)

// bootTime reads a clock that also runs while the machine is suspended, which Go's does not.
func bootTime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic("lease: CLOCK_BOOTTIME: " + err.Error()) // in Linux since 2.6.39
	}
	return time.Duration(ts.Nano())
}

package cli

import (
	"bytes"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// processAge is how long ago this process was started: at most 10 ms less. It is 0 where that is not known.
func processAge() time.Duration {
	const ticks = 100 // a second, in all that Linux tells programs
	stat, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return 0
	}
	// The second field is the name in brackets, in which anything can stand. See proc_pid_stat(5).
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	const started = 19
	if len(fields) <= started {
		return 0
	}
	n, err := strconv.ParseInt(string(fields[started]), 10, 64)
	var now unix.Timespec
	if err != nil || unix.ClockGettime(unix.CLOCK_BOOTTIME, &now) != nil {
		return 0
	}
	return max(0, time.Duration(now.Nano())-time.Duration(n)*(time.Second/ticks))
}

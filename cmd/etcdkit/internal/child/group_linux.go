package child

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
)

// lastSignal is SIGRTMAX.
const lastSignal = 64

// groupRuns tells whether a process of a group runs. One that has ended stays in its group until its parent
// asks for its exit code, which the first process of a container may never do.
func groupRuns(group int) bool {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil || len(stats) == 0 {
		return true // there is no /proc
	}
	for _, file := range stats {
		stat, err := os.ReadFile(file)
		if err != nil {
			continue // it has gone
		}
		_, rest, _ := bytes.Cut(stat[bytes.LastIndexByte(stat, ')')+1:], []byte(" "))
		fields := bytes.Fields(rest) // state, parent, group
		if len(fields) < 3 || string(fields[2]) != strconv.Itoa(group) {
			continue
		}
		if state := fields[0][0]; state != 'Z' && state != 'X' {
			return true
		}
	}
	return false
}

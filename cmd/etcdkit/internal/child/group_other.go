//go:build unix && !linux

package child

// lastSignal is SIGUSR2.
const lastSignal = 31

// groupRuns tells whether a process of a group runs. It is called for one that has processes.
func groupRuns(int) bool { return true }

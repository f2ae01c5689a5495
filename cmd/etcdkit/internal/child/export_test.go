//go:build unix

package child

// BootTime is the clock of the deadlines.
var BootTime = bootTime

// Pid is that of the supervisor.
func (s *Supervisor) Pid() int { return s.process.Process.Pid }

// ForwardedList are the signals of Forwarded.
var ForwardedList = forwarded

//go:build unix

package cluster

import (
	"os"
	"syscall"
)

const errAddrInUse = syscall.EADDRINUSE

func terminate(p *os.Process) { _ = p.Signal(syscall.SIGTERM) }

func pause(p *os.Process) error  { return p.Signal(syscall.SIGSTOP) }
func resume(p *os.Process) error { return p.Signal(syscall.SIGCONT) }

// hasEnded tells whether there is no such process.
func hasEnded(pid int) bool { return pid > 0 && syscall.Kill(pid, 0) == syscall.ESRCH }

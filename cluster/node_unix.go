//go:build unix

package cluster

import (
	"os"
	"os/exec"
	"syscall"
)

const errAddrInUse = syscall.EADDRINUSE

// ownGroup keeps the terminal's Ctrl-C from the member, and lets the kernel wake a paused one
// when the parent is gone.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

func terminate(p *os.Process) { _ = p.Signal(syscall.SIGTERM) }
func pause(p *os.Process) error {
	return p.Signal(syscall.SIGSTOP)
}
func resume(p *os.Process) error { return p.Signal(syscall.SIGCONT) }

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

// syncDir makes the names in a directory last.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// gone tells whether there is no such process.
func gone(pid int) bool { return pid > 0 && syscall.Kill(pid, 0) == syscall.ESRCH }

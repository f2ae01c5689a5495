//go:build unix

package main

import (
	"os/exec"
	"syscall"
)

// endTogether has the end of cmd's context kill what it has started, too: go install is killed with
// its compilers.
func endTogether(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}

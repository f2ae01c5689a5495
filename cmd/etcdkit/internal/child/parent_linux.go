package child

import (
	"os/exec"
	"syscall"
)

// endWithParent has the command's own process get SIGTERM when the thread that starts it ends: the supervisor's first
// one, which ends with the process. A wrapper that is stopped, or has not heard yet that the command started, cannot end
// the command of a supervisor that was killed. The other processes of the group do not get it.
func endWithParent(cmd *exec.Cmd) { cmd.SysProcAttr.Pdeathsig = syscall.SIGTERM }

// Package procgroup gives a command a process group of its own.
//
// A signal to the group reaches everything that the command has started, and a Ctrl-C at the terminal
// does not reach it. There are process groups on Unix only. Elsewhere Own and KillOnCancel change
// nothing, and Signal returns errors.ErrUnsupported.
package procgroup

import (
	"os"
	"os/exec"
)

// Own has the command start in a process group of its own. Call it before Start.
func Own(cmd *exec.Cmd) { own(cmd) }

// KillOnCancel is Own; and when the command's context ends, the whole group is killed, and not only
// the command. Call it before Start.
func KillOnCancel(cmd *exec.Cmd) { killOnCancel(cmd) }

// Signal sends a signal to all processes of the group that p was started to lead. It returns
// os.ErrProcessDone when none is left.
func Signal(p *os.Process, s os.Signal) error { return signal(p, s) }

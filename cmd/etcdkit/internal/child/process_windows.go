package child

import (
	"os"
	"syscall"
)

const (
	terminate = syscall.SIGKILL // there is no SIGTERM
	resume    = syscall.SIGKILL
)

func runSignals() []os.Signal { return []os.Signal{os.Interrupt} }
func forwarded() []os.Signal  { return []os.Signal{os.Interrupt} }

func endsProgram(syscall.Signal) bool  { return true }
func stopsProgram(syscall.Signal) bool { return false }

// controlC is the exit code of a program that Ctrl-C has ended: STATUS_CONTROL_C_EXIT.
const controlC = 0xC000013A

// await waits for the command and returns its exit code.
func (p *Process) await() int {
	_ = p.cmd.Wait()
	code := p.cmd.ProcessState.ExitCode()
	p.interrupted = uint32(code) == controlC
	return code
}

func (p *Process) hasRest() bool { return false }

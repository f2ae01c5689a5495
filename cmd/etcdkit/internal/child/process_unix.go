//go:build unix

package child

import (
	"errors"
	"os"
	"os/signal"
	"slices"
	"syscall"
)

const (
	terminate = syscall.SIGTERM
	resume    = syscall.SIGCONT
)

func runSignals() []os.Signal {
	return append(TerminationSignals(), syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2)
}

// forwarded are all signals but those that cannot be caught, those that mean something to this process
// itself (its children, its memory, its writes, Go's scheduler), and those of a terminal for a process in its
// background. The C library has two of its own.
func forwarded() []os.Signal {
	own := []syscall.Signal{
		syscall.SIGKILL, syscall.SIGSTOP, syscall.SIGCHLD, syscall.SIGSEGV, syscall.SIGBUS, syscall.SIGFPE,
		syscall.SIGPIPE, syscall.SIGURG, syscall.SIGTTIN, syscall.SIGTTOU, 32, 33,
	}
	var all []os.Signal
	for s := syscall.Signal(1); s <= lastSignal; s++ {
		if !slices.Contains(own, s) && !signal.Ignored(s) {
			all = append(all, s)
		}
	}
	return all
}

// endsProgram tells whether a signal ends a program that does nothing about it.
func endsProgram(s syscall.Signal) bool {
	return s != syscall.SIGCONT && s != syscall.SIGWINCH && !stopsProgram(s)
}

func stopsProgram(s syscall.Signal) bool { return s == syscall.SIGTSTP }

// await waits for the command's own process and returns its exit code.
func (p *Process) await() int {
	waitFor := p.Pid()
	if p.settings.supervised {
		waitFor = -1
	}
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(waitFor, &status, syscall.WUNTRACED, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err == nil && pid != p.Pid(): // an orphan has ended
		case err != nil: // another part of this process has waited for it
			return 255
		case status.Stopped() && p.settings.stopped != nil:
			p.settings.stopped(status.StopSignal())
		case status.Stopped():
			p.tty.stopped(status.StopSignal(), p.Pid(), func() { _ = p.Signal(resume) })
		case status.Signaled():
			p.interrupted = status.Signal() == syscall.SIGINT
			return 128 + int(status.Signal())
		default:
			code := status.ExitStatus()
			p.interrupted = code == 128+int(syscall.SIGINT) && p.tty != nil && p.tty.given
			return code
		}
	}
}

// hasRest tells whether processes are left in the group of a command that has ended. It reaps those that have
// become children of this process, which is the first one of a container, say.
func (p *Process) hasRest() bool {
	for {
		pid, err := syscall.Wait4(-p.Pid(), nil, syscall.WNOHANG, nil)
		if pid <= 0 && !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	return syscall.Kill(-p.Pid(), 0) == nil && groupRuns(p.Pid())
}

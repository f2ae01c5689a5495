//go:build unix

package child

import (
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// atTerminal tells whether this process is in the foreground of a terminal.
func atTerminal() bool {
	for _, f := range []*os.File{os.Stdin, os.Stdout, os.Stderr} {
		if inForeground(int(f.Fd())) {
			return true
		}
	}
	return false
}

// inForeground tells whether this process's group is in the foreground of a terminal.
func inForeground(fd int) bool { return isForeground(fd, unix.Getpgrp()) }

// isForeground tells whether a group is in the foreground of a terminal.
func isForeground(fd, group int) bool {
	foreground, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP)
	return err == nil && foreground == group
}

// terminal is the one that controls this process. A nil terminal does nothing.
type terminal struct {
	fd    int
	given bool          // to the command
	modes *unix.Termios // when it was first given
	asked atomic.Bool   // SIGTSTP was passed on, and nothing has stopped since
}

// openTerminal returns the terminal that controls this process, or nil. Also a command whose input and output
// are files may ask there for a password.
func openTerminal() *terminal {
	fd, err := unix.Open("/dev/tty", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	return &terminal{fd: fd}
}

func (t *terminal) close() {
	if t != nil {
		unix.Close(t.fd)
	}
}

// give gives a group the foreground, if this process has it.
func (t *terminal) give(group int) bool {
	if t == nil || !inForeground(t.fd) {
		return false
	}
	if t.modes == nil {
		t.modes, _ = unix.IoctlGetTermios(t.fd, getModes)
	}
	t.given = unix.IoctlSetPointerInt(t.fd, unix.TIOCSPGRP, group) == nil
	return t.given
}

// passes is told of each signal that is passed on to the command.
func (t *terminal) passes(s os.Signal) {
	if t != nil && s == syscall.SIGTSTP {
		t.asked.Store(true)
	}
}

// ended takes the foreground back from a command that has ended, with an exit code as a shell has it. If a signal ended
// the command, the terminal gets the modes that it had before: the command may have switched off the echo. A shell
// does so for a program that a signal ended, and it does not see that of this one.
func (t *terminal) ended(code int) {
	t.takeBack()
	if t != nil && t.modes != nil && code > 128 && inForeground(t.fd) {
		_ = unix.IoctlSetTermios(t.fd, setModes, t.modes)
	}
}

// takeBack takes the foreground back, if it was given.
func (t *terminal) takeBack() {
	if t == nil || !t.given {
		return
	}
	t.given = false
	// Without this the kernel would stop this process, which is in the background now.
	signal.Ignore(syscall.SIGTTOU)
	defer signal.Reset(syscall.SIGTTOU)
	_ = unix.IoctlSetPointerInt(t.fd, unix.TIOCSPGRP, unix.Getpgrp())
}

// stopped is called when a signal has stopped the command's group. resume continues it.
func (t *terminal) stopped(by syscall.Signal, group int, resume func()) {
	if t == nil {
		return // no terminal stopped it: what did so continues it
	}
	asked := t.asked.Swap(false)
	switch by {
	case syscall.SIGTTIN, syscall.SIGTTOU: // it needs the terminal
		// A group that was continued twice may have asked twice, and got the terminal for the first time.
		if !isForeground(t.fd, group) && !t.give(group) {
			t.suspend(group, by) // a wrapper around this one can give it
		}
		resume()
	case syscall.SIGSTOP: // of another process, or of a command that stops itself when Ctrl-Z asks it to
		if t.given || asked {
			t.suspend(group, by)
			resume()
		}
	case syscall.SIGTSTP: // Ctrl-Z
		t.suspend(group, syscall.SIGSTOP)
		resume()
	}
}

// suspend stops this process's group by a signal, until the shell continues it.
func (t *terminal) suspend(group int, by syscall.Signal) {
	had := t.given
	t.takeBack()
	suspend(by)
	if had {
		t.give(group)
	}
}

// suspendCheck is how long a stop of this process may take.
const suspendCheck = 200 * time.Millisecond

// Suspend stops this process's group, as Ctrl-Z does, so that the shell has the terminal, and returns when
// the shell has continued it. Where nothing could continue it, as the group is the terminal's first one (ssh -t, a
// container), it returns soon: there a Ctrl-Z does not stop a process.
func Suspend() { suspend(syscall.SIGSTOP) }

func suspend(by syscall.Signal) {
	if session, err := unix.Getsid(0); err != nil || session == unix.Getpgrp() {
		return
	}
	continued := make(chan os.Signal, 1)
	signal.Notify(continued, syscall.SIGCONT)
	defer signal.Stop(continued)
	_ = syscall.Kill(0, by)
	select {
	case <-continued:
	case <-time.After(suspendCheck): // the stop is over, or there was none
	}
}

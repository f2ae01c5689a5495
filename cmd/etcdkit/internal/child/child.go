// Package child runs the user's command.
//
//	err := child.Run(exec.Command("go", "test", "./..."), signals)
//	code := child.ExitCode(err)
//
// Run returns as soon as the command's own process has ended. What the command left in the background may
// keep the output open: Run does not wait for that.
//
// Signals are passed on. The first one that asks the command to end gives it Grace; a second one, or the
// end of Grace, is SIGKILL. At a terminal, Ctrl-C has reached the command already, and what it means is
// the command's to say: a REPL lives on. Elsewhere the command has a process group of its own, so that
// a signal reaches what it has started, too.
package child

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"github.com/etcdkit/etcdkit/internal/procgroup"
)

const (
	// Grace is what the command gets to end after a signal.
	Grace = 10 * time.Second
	// drain is how long output may still arrive after the command has ended, where it does not
	// go to a file.
	drain = 200 * time.Millisecond
)

// TerminationSignals are the signals that ask a program to end: Ctrl-C, kill, and a closed terminal unless nohup says
// otherwise.
func TerminationSignals() []os.Signal {
	all := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		all = append(all, syscall.SIGHUP)
	}
	return all
}

// Signals are those that Run passes on; the caller subscribes, early enough to miss none.
func Signals() (signals <-chan os.Signal, stop func()) {
	all := make(chan os.Signal, 8)
	signal.Notify(all, forwarded()...)
	return all, func() { signal.Stop(all) }
}

// Filer is a writer that is a file with something around it. The command gets the file itself.
type Filer interface{ File() *os.File }

// Run runs the command. Its error is that of exec.Cmd's Start or Wait.
func Run(cmd *exec.Cmd, signals <-chan os.Signal) error {
	// A command that writes to a file of its own needs no copying. Otherwise Wait would wait
	// for every process that has the pipe open, also for one that the command left in the background.
	cmd.Stdout, cmd.Stderr = file(cmd.Stdout), file(cmd.Stderr)
	cmd.WaitDelay = drain
	terminal := atTerminal()
	if !terminal {
		procgroup.Own(cmd)
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }() // ends with the command
	var force <-chan time.Time
	for {
		select {
		case err := <-ended:
			if errors.Is(err, exec.ErrWaitDelay) { // it ended well; another process still has the pipe
				return nil
			}
			return err
		case s := <-signals:
			switch {
			case terminal && fromTerminal(s):
			case !asksToEnd(s):
				send(cmd, terminal, s)
			case force != nil:
				send(cmd, terminal, os.Kill)
			default:
				send(cmd, terminal, s)
				force = time.After(Grace)
			}
		case <-force:
			send(cmd, terminal, os.Kill)
		}
	}
}

func file(w io.Writer) io.Writer {
	if f, ok := w.(Filer); ok {
		return f.File()
	}
	return w
}

// send signals the command, and the rest of its process group if it has one.
func send(cmd *exec.Cmd, terminal bool, s os.Signal) {
	if terminal || procgroup.Signal(cmd.Process, s) != nil {
		_ = cmd.Process.Signal(s)
	}
}

// asksToEnd tells whether the signal asks for an end.
func asksToEnd(s os.Signal) bool {
	return s == os.Interrupt || s == syscall.SIGTERM || s == syscall.SIGHUP || s == syscall.SIGQUIT
}

// fromTerminal tells whether the signal is one that a terminal sends to all that run in its foreground.
func fromTerminal(s os.Signal) bool { return s == os.Interrupt || s == syscall.SIGQUIT }

// ExitCode is that of Run's error, as a shell has it: 128 + N if signal N ended the command. ok is false if
// the command did not run.
func ExitCode(err error) (code int, ok bool) {
	if err == nil {
		return 0, true
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return 0, false
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal()), true
	}
	return exit.ExitCode(), true
}

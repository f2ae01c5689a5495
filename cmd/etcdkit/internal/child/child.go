// Package child runs the user's command.
//
//	cmd, err := child.Command([]string{"worker", "--queue", "mail"}) // an error has its exit code: 126 or 127
//	signals, stop := child.Forwarded()
//	defer stop()
//	p, err := child.Start(cmd)
//	for {
//		select {
//		case s := <-signals:
//			p.Signal(s)
//		case <-lost:
//			p.Stop(5 * time.Second) // SIGTERM now, SIGKILL after 5 s
//		case <-p.Done():
//			return p.Code()
//		}
//	}
//
// The command has a process group of its own. A signal reaches the whole group: what a shell started in the
// background, too. When the command's own process has ended, what is left of its group is ended before Done
// is closed. A process that has left the group (setsid, a daemon) is out of reach.
//
// # At a terminal
//
// The command starts in the background of the terminal. As soon as it reads from the terminal or changes its
// settings, it gets the foreground, as a shell's job has it. So Ctrl-C reaches a command that has the
// foreground directly, and one that does not because the caller passes the signal on. In a pipeline the other
// programs keep the terminal until the command needs it. Ctrl-Z stops the command and then this process, so
// that the shell is back; fg continues both.
//
// # Run
//
// Run is for a command that is in charge of itself: it leaves alone what the command left in the background,
// and at a terminal the command stays in this process's group.
package child

import (
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"
)

// Grace is what a command of Run gets to end after a signal.
const Grace = 10 * time.Second

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
func Signals() (signals <-chan os.Signal, stop func()) { return subscribe(runSignals()) }

// Forwarded are all signals that can be passed on to a command of Start. A signal that this process was
// started to ignore (nohup) is not one of them: the command ignores it, too.
func Forwarded() (signals <-chan os.Signal, stop func()) { return subscribe(forwarded()) }

func subscribe(wanted []os.Signal) (<-chan os.Signal, func()) {
	all := make(chan os.Signal, 64)
	signal.Notify(all, wanted...)
	return all, func() { signal.Stop(all) }
}

// Run runs the command and returns its exit code, as soon as the command's own process has ended. What the
// command left in the background may keep the output open: Run does not wait for that. The error is that of
// a command that did not start, a *CannotRunError.
//
// Signals are passed on. The first one that asks the command to end gives it Grace; a second one, or the
// end of Grace, is SIGKILL. At a terminal, Ctrl-C has reached the command already, and what it means is
// the command's to say: a REPL lives on. Elsewhere the command has a process group of its own, so that
// a signal reaches what it has started, too.
func Run(cmd *exec.Cmd, signals <-chan os.Signal) (code int, err error) {
	terminal := atTerminal()
	p, err := start(cmd, settings{ownGroup: !terminal, leaveRest: true})
	if err != nil {
		return 0, err
	}
	stopping := false
	asksToEnd := func(s os.Signal) bool {
		return AsksToEnd(s) || s == syscall.SIGHUP // the terminal is gone
	}
	for {
		select {
		case <-p.Done():
			return p.Code(), nil
		case s := <-signals:
			switch {
			case terminal && fromTerminal(s):
			case asksToEnd(s) && stopping:
				_ = p.Signal(os.Kill)
			case asksToEnd(s):
				stopping = true
				_ = p.Signal(s)
				p.killAfter(Grace)
			default:
				_ = p.Signal(s)
			}
		}
	}
}

// AsksToEnd tells whether a signal asks what runs a command to end. SIGHUP does not: to many a server it means
// that it is to read its configuration again.
func AsksToEnd(s os.Signal) bool {
	return s == os.Interrupt || s == syscall.SIGTERM || s == syscall.SIGQUIT
}

// fromTerminal tells whether the signal is one that a terminal sends to all that run in its foreground.
func fromTerminal(s os.Signal) bool { return s == os.Interrupt || s == syscall.SIGQUIT }

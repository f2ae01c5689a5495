package child

import (
	"context"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"
)

// SignalError says which signal ended what runs a command, or the time before the command.
type SignalError struct{ Signal syscall.Signal }

func (e *SignalError) Error() string { return fmt.Sprintf("ended by signal %d", int(e.Signal)) }

// EndedBy is the error of what a signal ends.
func EndedBy(s os.Signal) *SignalError {
	number, _ := s.(syscall.Signal) // there is no other kind
	return &SignalError{number}
}

// Code is the exit code of a program that the signal ends, as a shell has it.
func (e *SignalError) Code() int { return 128 + int(e.Signal) }

// lateSignal is how long it may take until a signal that has ended a context arrives here, too.
const lateSignal = 100 * time.Millisecond

// Stops tells whether a signal is that of Ctrl-Z.
func Stops(s os.Signal) bool {
	number, ok := s.(syscall.Signal)
	return ok && stopsProgram(number)
}

// UntilSignal is a context for the time before a command runs. It ends with the first signal that would end a
// program, and its cause is then a *SignalError; and it ends with ctx. Ctrl-Z stops this process. With stop it
// ends as well: from then on signals are for the command.
//
// stop returns what had ended the context before, or nil. Look at it before the command starts: a signal may come
// while the last call of that time succeeds, and the command would never hear of it. A later stop returns the
// same.
func UntilSignal(ctx context.Context, signals <-chan os.Signal) (_ context.Context, stop func() error) {
	waiting, end := context.WithCancelCause(context.WithoutCancel(ctx)) // a signal may end ctx without saying which one
	stopping, stopped := make(chan struct{}), make(chan struct{})
	go func() { // ends with stop
		defer close(stopped)
		done := ctx.Done()
		var late <-chan time.Time
		for {
			select {
			case s := <-signals:
				number, ok := s.(syscall.Signal)
				switch {
				case ok && endsProgram(number):
					end(&SignalError{number})
				case Stops(s):
					Suspend()
				}
			case <-done:
				done, late = nil, time.After(lateSignal)
			case <-late:
				end(context.Cause(ctx))
			case <-stopping:
				return
			}
		}
	}()
	return waiting, sync.OnceValue(func() error {
		close(stopping)
		<-stopped
		ended := context.Cause(waiting)
		end(nil)
		return ended
	})
}

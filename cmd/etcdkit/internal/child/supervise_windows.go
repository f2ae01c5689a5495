package child

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"time"
)

// ErrEnded, ErrNotStarted and ErrSupervisor are not returned on Windows.
var (
	ErrEnded      = errors.New("the command was ended before ownership was lost")
	ErrNotStarted = errors.New("the command was not started: ownership was lost")
	ErrSupervisor = errors.New("the supervisor of the command has ended")
)

// Held is what a command may not outlive.
type Held interface {
	Deadline() time.Time
	Done() <-chan struct{}
}

// SuperviseOptions of Supervise.
type SuperviseOptions struct {
	Grace          time.Duration
	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

// Supervisor does not exist on Windows.
type Supervisor struct{}

// RunSupervisor does nothing on Windows.
func RunSupervisor() {}

// Suspend does nothing on Windows.
func Suspend() {}

// Supervise is an error on Windows, which has no process groups: nothing could be promised about the
// processes that a command has started.
func Supervise(*SuperviseOptions) (*Supervisor, error) {
	return nil, errors.New("a command cannot be supervised on Windows: it has no process groups")
}

// Run is not called: there is no Supervisor.
func (*Supervisor) Run(*exec.Cmd, Held, <-chan os.Signal) (int, error) { return 0, ErrSupervisor }

// Close is not called: there is no Supervisor.
func (*Supervisor) Close() {}

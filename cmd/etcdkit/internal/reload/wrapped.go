package reload

import (
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/child"
)

// Wrapped is a command, and how it is kept up to date.
type Wrapped struct {
	Args   []string // the command
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer

	Policy Policy // what a change does
	Pause  Pause
	Grace  time.Duration // between SIGTERM and SIGKILL

	Signals <-chan os.Signal                 // all that the process gets, for the command
	Say     func(format string, args ...any) // tells a person what happens
}

// Cmd makes the command. Its environment, where it is nil, is that of this process.
func (w *Wrapped) Cmd(environ []string) (*exec.Cmd, error) {
	cmd, err := child.Command(w.Args)
	if err != nil {
		return nil, err
	}
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = environ, w.Stdin, w.Stdout, w.Stderr
	return cmd, nil
}

// Keeper keeps a command that runs on.
func (w *Wrapped) Keeper(command func() (*exec.Cmd, error)) *Keeper {
	return &Keeper{Policy: w.Policy, Grace: w.Grace, Command: command}
}

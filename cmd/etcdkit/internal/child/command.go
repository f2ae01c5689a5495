package child

import (
	"errors"
	"io/fs"
	"os/exec"
	"syscall"
)

// Exit codes of a command that does not run, as a shell has them.
const (
	CodeCannotRun = 126 // there is a file, and it cannot be executed
	CodeNotFound  = 127
)

// CannotRunError says that a command does not run, and has the exit code for that.
type CannotRunError struct {
	Code int
	err  error
}

func (e *CannotRunError) Error() string { return e.err.Error() }
func (e *CannotRunError) Unwrap() error { return e.err }

// Command makes a command of a program and its arguments, as the user typed them. Its error is a
// *CannotRunError.
func Command(args []string) (*exec.Cmd, error) {
	path, err := exec.LookPath(args[0])
	if err != nil {
		return nil, cannotRun(err)
	}
	cmd := exec.Command(path, args[1:]...)
	cmd.Args[0] = args[0]
	return cmd, nil
}

// cannotRun gives an error of exec its exit code.
func cannotRun(err error) *CannotRunError {
	for _, missing := range []error{exec.ErrNotFound, fs.ErrNotExist, syscall.ENOTDIR} {
		if errors.Is(err, missing) {
			return &CannotRunError{CodeNotFound, err}
		}
	}
	return &CannotRunError{CodeCannotRun, err}
}

package health

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/etcdkit/etcdkit/internal/procgroup"
)

const (
	// maxSaid is how much is kept of what a command prints.
	maxSaid = 4 << 10
	// outputWait is for how long a command's output is waited for when it has ended: a process
	// that it left behind may hold it open.
	outputWait = 500 * time.Millisecond
)

// Command is a check by a program: exit code 0 passes, 1 is a warning, as Consul and Nagios have
// it, and all else a failure. Its environment is this process's, and ETCDKIT_ADDR, the instance's
// host:port. It has no input; what it prints is the output.
//
// It has a process group of its own, which is killed at the Timeout; also when the program has
// ended, but what it started still holds its output half a second later.
func Command(name string, args ...string) Check {
	args = slices.Clone(args)
	return Check{
		Name: "command " + filepath.Base(name), // arguments may be nobody's business
		Probe: func(ctx context.Context, addr string) (string, error) {
			cmd := exec.CommandContext(ctx, name, args...)
			cmd.Env = append(os.Environ(), "ETCDKIT_ADDR="+addr)
			var out said
			cmd.Stdout, cmd.Stderr = &out, &out
			cmd.WaitDelay = outputWait
			procgroup.KillOnCancel(cmd)
			err := cmd.Run()
			if out.held {
				_ = procgroup.Signal(cmd.Process, os.Kill) // a process of it is left, so its number is no other group's
			}
			switch exit, ended := errors.AsType[*exec.ExitError](err); {
			case ended && exit.ExitCode() == 1:
				err = ErrWarning
			case errors.Is(err, exec.ErrWaitDelay): // and its exit code was 0
				err = nil
			}
			return string(out.text), err
		},
		usable: func() error {
			_, err := exec.LookPath(name)
			return err
		},
	}
}

// said is the beginning of what a command printed.
type said struct {
	text []byte
	held bool // a process could still have written
}

func (s *said) Write(p []byte) (int, error) {
	s.text = append(s.text, p[:min(len(p), maxSaid-len(s.text))]...)
	return len(p), nil
}

// ReadFrom reads until nobody holds the other end any longer, or the command's WaitDelay is over.
func (s *said) ReadFrom(r io.Reader) (int64, error) {
	n, err := io.Copy(struct{ io.Writer }{s}, r)
	s.held = err != nil
	return n, err
}

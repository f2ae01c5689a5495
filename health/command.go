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
	// maxPrinted is how much of a command's output is kept.
	maxPrinted = 4 << 10
	// outputWait bounds the wait for the output after a command has ended: a process that it has
	// started may keep the output open.
	outputWait = 500 * time.Millisecond
)

// Command is a check by a program: exit code 0 is a pass, 1 a warning, as for Consul and Nagios, and any
// other a failure. It has the environment of this process and ETCDKIT_ADDR, the instance's host:port.
// It has no input; what it prints is the output.
//
// It has its own process group, which is killed at the Timeout, or when the program has ended but a
// process that it has started still holds its output half a second later.
func Command(name string, args ...string) Check {
	args = slices.Clone(args)
	return Check{
		Name: "command " + filepath.Base(name), // without the arguments, which may be secret
		Probe: func(ctx context.Context, addr string) (string, error) {
			cmd := exec.CommandContext(ctx, name, args...)
			cmd.Env = append(os.Environ(), "ETCDKIT_ADDR="+addr)
			var out limitedOutput
			cmd.Stdout, cmd.Stderr = &out, &out
			cmd.WaitDelay = outputWait
			procgroup.KillOnCancel(cmd)
			err := cmd.Run()
			if out.held {
				_ = procgroup.Signal(cmd.Process, os.Kill) // a process of the group is left, so the group still has this number
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

// limitedOutput is the beginning of what a command printed.
type limitedOutput struct {
	text []byte
	held bool // a process still holds the output open
}

func (o *limitedOutput) Write(p []byte) (int, error) {
	o.text = append(o.text, p[:min(len(p), maxPrinted-len(o.text))]...)
	return len(p), nil
}

// ReadFrom reads until no process holds the other end any more, or the command's WaitDelay is over.
func (o *limitedOutput) ReadFrom(r io.Reader) (int64, error) {
	n, err := io.Copy(struct{ io.Writer }{o}, r)
	o.held = err != nil
	return n, err
}

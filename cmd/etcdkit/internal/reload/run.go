package reload

import (
	"context"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/child"
)

// RunToEnd runs a command and returns its exit code. When ctx ends the command gets SIGTERM, and SIGKILL after
// grace; the error is then the cause. A signal is passed on. After one that asks for an end the command is killed after
// grace, and at once by a second one; the error is then a *child.SignalError, as it is after a Ctrl-C that reached the
// command only. Whatever ran the command ends, too. signals may be nil.
func RunToEnd(ctx context.Context, cmd *exec.Cmd, signals <-chan os.Signal, grace time.Duration) (code int, err error) {
	p, err := child.Start(cmd)
	if err != nil {
		return 0, err
	}
	over := ctx.Done()
	var overdue <-chan time.Time
	for {
		select {
		case <-p.Done():
			if err == nil && p.Interrupted() {
				err = &child.SignalError{Signal: syscall.SIGINT} // Ctrl-C reaches the terminal's foreground only, which it was
			}
			return p.Code(), err
		case <-over:
			over = nil
			err = context.Cause(ctx)
			p.Stop(grace)
		case s := <-signals:
			switch {
			case !child.AsksToEnd(s):
				_ = p.Signal(s)
			case err != nil:
				p.Stop(0)
			default:
				err = child.EndedBy(s)
				_ = p.Signal(s)
				overdue = time.After(grace)
			}
		case <-overdue:
			p.Stop(0)
		}
	}
}

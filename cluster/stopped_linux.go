package cluster

import (
	"context"
	"time"

	"golang.org/x/sys/unix"
)

// awaitStopped returns when no thread of the member's process runs any more, or when it has ended:
// SIGSTOP takes effect a moment after it was sent, and what runs until then still answers.
func awaitStopped(ctx context.Context, pid int) error {
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for {
		var of unix.Siginfo
		err := unix.Waitid(unix.P_PID, pid, &of, unix.WSTOPPED|unix.WEXITED|unix.WNOWAIT|unix.WNOHANG, nil)
		if err == unix.ECHILD || err == nil && of.Signo != 0 {
			return nil
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

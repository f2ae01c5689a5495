//go:build unix

package out

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// readsKeys: single keys can be read on this system.
const readsKeys = true

// awaitInput waits until a terminal has something to read, or for so long: a Read that waits cannot be ended.
func awaitInput(in *os.File, most time.Duration) (ready bool, err error) {
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(in.Fd()), Events: unix.POLLIN}}, int(most.Milliseconds()))
	if errors.Is(err, unix.EINTR) {
		return false, nil
	}
	return n > 0, err
}

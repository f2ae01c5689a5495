//go:build !unix

package out

import (
	"errors"
	"os"
	"time"
)

// readsKeys: single keys cannot be read on this system; Ctrl-C stays a signal.
const readsKeys = false

func awaitInput(*os.File, time.Duration) (bool, error) { return false, errors.ErrUnsupported }

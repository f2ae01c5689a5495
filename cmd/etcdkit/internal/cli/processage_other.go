//go:build !linux

package cli

import "time"

// processAge is how long ago this process was started, where the system tells.
func processAge() time.Duration { return 0 }

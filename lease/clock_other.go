//go:build !linux

package lease

import "time"

var started = time.Now()

// bootTime is Go's monotonic clock. On some systems it stands still while the machine is
// suspended; there a lease that expired meanwhile is noticed by the next keepalive's answer.
func bootTime() time.Duration { return time.Since(started) }

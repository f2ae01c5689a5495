//go:build !linux

package cluster

import "context"

// awaitStopped does not wait: without waitid(WNOWAIT) the question could take the child's exit from
// os/exec.
func awaitStopped(context.Context, int) error { return nil }

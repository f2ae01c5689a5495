//go:build !unix

package health

import "os/exec"

// grouped: there are no process groups; at the timeout the command alone is killed.
func grouped(*exec.Cmd) {}

func killGroup(*exec.Cmd) error { return nil }

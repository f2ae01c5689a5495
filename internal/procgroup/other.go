//go:build !unix

package procgroup

import (
	"errors"
	"os"
	"os/exec"
)

func own(*exec.Cmd)                       {}
func killOnCancel(*exec.Cmd)              {}
func signal(*os.Process, os.Signal) error { return errors.ErrUnsupported }

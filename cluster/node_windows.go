package cluster

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
)

const errAddrInUse = syscall.Errno(10048) // WSAEADDRINUSE

func ownGroup(*exec.Cmd) {}

// terminate kills: there is no SIGTERM, and etcd's data survives it.
func terminate(p *os.Process) { _ = p.Kill() }

func pause(*os.Process) error  { return errors.ErrUnsupported }
func resume(*os.Process) error { return errors.ErrUnsupported }

// syncDir: Windows cannot sync a directory.
func syncDir(string) error { return nil }

// gone is not known here.
func gone(pid int) bool { return false }

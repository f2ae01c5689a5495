package cluster

import (
	"errors"
	"os"
	"syscall"
)

const errAddrInUse = syscall.Errno(10048) // WSAEADDRINUSE

// terminate kills: there is no SIGTERM, and etcd's data survives it.
func terminate(p *os.Process) { _ = p.Kill() }

func pause(*os.Process) error  { return errors.ErrUnsupported }
func resume(*os.Process) error { return errors.ErrUnsupported }

// hasEnded: it is not known here.
func hasEnded(pid int) bool { return false }

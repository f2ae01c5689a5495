//go:build !linux

package devctl

import "net"

// peer is not known here.
func peer(*net.UnixConn) (pid int) { return 0 }

func stopped(int) bool { return false }

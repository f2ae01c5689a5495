package devctl

import (
	"bytes"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// peer is the process that listens on the other side of a unix socket, or 0.
func peer(c *net.UnixConn) (pid int) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0
	}
	_ = raw.Control(func(fd uintptr) {
		if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			pid = int(cred.Pid)
		}
	})
	return pid
}

// stopped tells whether a process is stopped, by Ctrl-Z or SIGSTOP.
func stopped(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	at := bytes.LastIndex(stat, []byte(") ")) // the program's name is in parentheses
	return at >= 0 && at+2 < len(stat) && bytes.IndexByte([]byte("Tt"), stat[at+2]) >= 0
}

package cluster

import (
	"bufio"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

const (
	tcpEstablished = "01"
	tcpListen      = "0A"
)

// checkDialerLookup: dialerOf works here.
func checkDialerLookup() error { return nil }

// listenerOf names the process that listens on a loopback port: its pid and program, zeroes
// when it cannot be told (another user's process, for one).
func listenerOf(port int) (pid int, program string) {
	inode := socketInode(func(s tcpSocket) bool { return s.state == tcpListen && s.local == port })
	if inode == "" {
		return 0, ""
	}
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil || !holdsSocket(pid, inode) {
			continue
		}
		comm, err := os.ReadFile(filepath.Join(dir, "comm"))
		if err != nil {
			return pid, ""
		}
		return pid, strings.TrimSpace(string(comm))
	}
	return 0, ""
}

// dialerOf tells which of pids opened the connection whose accepted end is known: its port is
// local on the dialer's side. 0 means none of them.
func dialerOf(dialer, accepted netip.AddrPort, pids []int) int {
	inode := socketInode(func(s tcpSocket) bool {
		return s.state == tcpEstablished && s.local == int(dialer.Port()) && s.remote == int(accepted.Port())
	})
	for _, pid := range pids {
		if inode != "" && holdsSocket(pid, inode) {
			return pid
		}
	}
	return 0
}

// tcpSocket is one line of /proc/net/tcp, as far as it matters here.
type tcpSocket struct {
	local, remote int // ports
	state         string
}

// socketInode returns the inode of the first socket that matches, or "".
func socketInode(match func(tcpSocket) bool) string {
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		f, err := os.Open(table)
		if err != nil {
			continue
		}
		inode := scanSockets(f, match)
		f.Close()
		if inode != "" {
			return inode
		}
	}
	return ""
}

func scanSockets(f *os.File, match func(tcpSocket) bool) string {
	lines := bufio.NewScanner(f)
	lines.Scan() // the heading
	for lines.Scan() {
		// sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode …
		fields := strings.Fields(lines.Text())
		if len(fields) < 10 {
			continue
		}
		if match(tcpSocket{hexPort(fields[1]), hexPort(fields[2]), fields[3]}) {
			return fields[9]
		}
	}
	return ""
}

func hexPort(addr string) int {
	_, port, _ := strings.Cut(addr, ":")
	n, err := strconv.ParseUint(port, 16, 16)
	if err != nil {
		return -1
	}
	return int(n)
}

func holdsSocket(pid int, inode string) bool {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	fds, err := os.ReadDir(dir)
	if err != nil {
		return false
	}
	want := "socket:[" + inode + "]"
	for _, fd := range fds {
		if to, err := os.Readlink(filepath.Join(dir, fd.Name())); err == nil && to == want {
			return true
		}
	}
	return false
}

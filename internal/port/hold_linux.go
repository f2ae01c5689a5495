package port

import (
	"io"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// hold binds and does not listen.
func hold(addr string) (held string, release io.Closer, err error) {
	at, err := netip.ParseAddrPort(addr)
	if err != nil {
		return "", nil, err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", nil, os.NewSyscallError("socket", err)
	}
	socket := os.NewFile(uintptr(fd), addr)
	fail := func(call string, err error) (string, io.Closer, error) {
		socket.Close()
		return "", nil, os.NewSyscallError(call, err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return fail("setsockopt", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}); err != nil {
		return fail("bind", err)
	}
	own, err := unix.Getsockname(fd)
	if err != nil {
		return fail("getsockname", err)
	}
	port := own.(*unix.SockaddrInet4).Port
	return netip.AddrPortFrom(at.Addr(), uint16(port)).String(), socket, nil
}

//go:build !linux

package port

import (
	"io"
	"net"
)

// hold only makes sure that the port is free: elsewhere one that is bound cannot be listened on.
func hold(addr string) (string, io.Closer, error) {
	l, err := net.Listen("tcp4", addr)
	if err != nil {
		return "", nil, err
	}
	l.Close()
	return l.Addr().String(), l, nil
}

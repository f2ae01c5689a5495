// Package port keeps a port while no process listens on it.
//
// Once its listener is closed, the system can give a port to another listener, or to a connection as its
// source. Hold it to listen on it again later, or to be sure that no process does.
package port

import "io"

// Hold keeps an address, IP:PORT of IPv4, with port 0 for one of the system's choice, until it is
// released. Connections to it are refused as long as no process listens there; listening is possible
// with SO_REUSEADDR, which Go's net.Listen sets. It needs Linux: elsewhere the port is found, and
// not kept.
func Hold(addr string) (held string, release io.Closer, err error) { return hold(addr) }

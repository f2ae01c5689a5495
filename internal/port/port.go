// Package port keeps ports for those who do not listen all the time.
//
// A port of the system's choice is anybody's again once its listener is closed: another listener
// gets it, or a connection has it as its source. Whoever wants to come back to it, or wants nobody
// to be there, holds it meanwhile.
package port

import "io"

// Hold keeps an address, IP:PORT of IPv4, with port 0 for one of the system's choice, until it is
// released. Connections to it are refused as long as nobody listens there; listening is possible
// with SO_REUSEADDR, which Go's net.Listen sets. It needs Linux: elsewhere the port is found, and
// not kept.
func Hold(addr string) (held string, release io.Closer, err error) { return hold(addr) }

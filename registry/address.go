package registry

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
)

// complete fills in what an instance may leave to Register.
func (i *Instance) complete(host string) error {
	if i.Raw == "" {
		addr, err := Advertise(i.Addr)
		if err != nil {
			return err
		}
		i.Addr = addr
	}
	if i.ID == "" {
		i.ID = host + "-" + strconv.Itoa(os.Getpid())
		if _, port, err := net.SplitHostPort(i.Addr); err == nil {
			i.ID = host + "-" + port // of a host one process listens there, before a restart and after
		}
	}
	return nil
}

// Advertise completes an address to listen on ("", ":8080", "0.0.0.0:8080", "[::]:8080") to one
// that others can dial: a host that is given stays, and a missing or unspecified one becomes
// the address of the interface by which this machine reaches its network. It never guesses a
// loopback address: on a machine without a network it is an ErrInvalid that says what to do.
//
// In a container this is the container's own address, which is right where consumers are on the
// same network (Kubernetes, Docker networks) and wrong behind a port mapping: there, give one.
func Advertise(listen string) (string, error) {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return "", fmt.Errorf("%w: address %q: want host:port or :port", ErrInvalid, listen)
	}
	if ip, err := netip.ParseAddr(host); host != "" && (err != nil || !ip.IsUnspecified()) {
		return listen, validAddr(listen)
	}
	ip, err := outbound()
	if err != nil {
		return "", fmt.Errorf("%w: address %q has no host, and this machine's own cannot be told (%v): set Addr to what consumers can dial", ErrInvalid, listen, err)
	}
	addr := net.JoinHostPort(ip.String(), port)
	return addr, validAddr(addr)
}

// outbound is the local address of the route to the outside. Connecting a UDP socket looks the
// route up and sends nothing; the address is from the range for documentation.
func outbound() (netip.Addr, error) {
	for _, to := range []string{"192.0.2.1:9", "[2001:db8::1]:9"} {
		conn, err := net.Dial("udp", to)
		if err != nil {
			continue
		}
		local := conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr()
		conn.Close()
		if !local.IsLoopback() && !local.IsUnspecified() {
			return local, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("no route to the outside")
}

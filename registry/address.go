package registry

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"unicode"

	"github.com/etcdkit/etcdkit/internal/quote"
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
			i.ID = host + "-" + port // one process of a host listens there, also after a restart
		}
	}
	return nil
}

// Advertise completes an address to listen on (":8080", "0.0.0.0:8080", "[::]:8080", "*:8080",
// "0:8080") to one that others can dial: a given host stays, and a missing or unspecified one becomes the
// address of the interface by which this machine reaches its network. It never chooses a
// loopback address: on a machine without a network the error is ErrInvalid and says what to do.
//
// In a container this is the container's own address, which is right where consumers are on the
// same network (Kubernetes, Docker networks) and wrong behind a port mapping: set the address there.
func Advertise(listen string) (string, error) {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return "", fmt.Errorf("%w: address %s: want host:port or :port%s", ErrInvalid, quote.Text(listen), unixHint(listen))
	}
	if !unspecified(host) {
		return listen, dialable(listen)
	}
	ip, err := outbound()
	if err != nil {
		return "", fmt.Errorf("%w: address %s has no host, and this machine's own was not found (%v): set Addr to what consumers can dial", ErrInvalid, quote.Text(listen), err)
	}
	addr := net.JoinHostPort(ip.String(), port)
	return addr, dialable(addr)
}

// unspecified reports whether a host to listen on means every address of the machine. Other programs
// write "*" and "0" for that.
func unspecified(host string) bool {
	if host == "" || host == "*" || host == "0" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().WithZone("").IsUnspecified()
}

// unixHint is the advice for a path or a unix address.
func unixHint(addr string) string {
	if strings.HasPrefix(addr, "unix:") || strings.HasPrefix(addr, "unix-abstract:") || strings.HasPrefix(addr, "/") {
		return "; consumers on other machines cannot dial a unix socket; for those on this one put its path into Raw"
	}
	return ""
}

// dialable checks that others can dial an address. That is stricter than what is accepted when reading.
func dialable(addr string) error {
	if err := validAddr(addr); err != nil {
		return fmt.Errorf("%w%s", err, unixHint(addr))
	}
	host, _, _ := net.SplitHostPort(addr) // as validAddr did
	refuse := func(why string) error {
		return fmt.Errorf("%w: address %s: %s", ErrInvalid, quote.Text(addr), why)
	}
	if unspecified(host) {
		return refuse("it is for listening: set Addr to what consumers can dial, or see Advertise")
	}
	ip, err := netip.ParseAddr(host)
	switch {
	case err == nil && ip.Zone() != "":
		return refuse("zone " + quote.Text(ip.Zone()) + " is a name that only this machine knows")
	case err == nil && (ip.IsMulticast() || ip == netip.AddrFrom4([4]byte{255, 255, 255, 255})):
		return refuse("it stands for many machines, not for one")
	case err == nil:
		return nil
	}
	if i := strings.IndexFunc(host, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r) && !strings.ContainsRune("-_.", r)
	}); i >= 0 {
		return refuse("host " + quote.Text(host) + " is neither an IP address nor a name")
	}
	whole := strings.TrimSuffix(host, ".")
	last := whole[strings.LastIndexByte(whole, '.')+1:]
	if _, err := strconv.ParseUint(last, 0, 64); err == nil || last != "" && strings.Trim(last, "0123456789") == "" {
		return refuse("host " + quote.Text(host) + " is neither an IP address nor a name: no name ends in a number")
	}
	return nil
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

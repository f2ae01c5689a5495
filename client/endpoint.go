package client

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// endpoint is one member's address.
type endpoint struct {
	text    string // as given, tidied: what people read and clientv3 parses
	scheme  string // "" if none was given
	network string // tcp or unix
	addr    string // host:port or a socket's path
}

// secure reports whether TLS is spoken there. Like clientv3, an endpoint that
// does not say follows whether there are TLS files.
func (e endpoint) secure(files bool) bool {
	switch e.scheme {
	case "https", "unixs":
		return true
	case "http":
		return false
	}
	return files
}

// loopback reports whether what is sent there stays on this machine. Names
// other than localhost count as remote, whatever they may resolve to.
func (e endpoint) loopback() bool {
	if e.network == "unix" {
		return true
	}
	host, _, _ := net.SplitHostPort(e.addr)
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return strings.EqualFold(host, "localhost")
	}
	return ip.Unmap().IsLoopback()
}

// key is equal for endpoints that are the same place.
func (e endpoint) key() string {
	if e.network == "tcp" {
		return strings.ToLower(e.addr)
	}
	return e.network + ":" + e.addr
}

// serverName is the name that the certificate there must have.
func (e endpoint) serverName() string {
	if e.network == "unix" {
		return path.Base(e.addr) // as clientv3 does
	}
	host, _, _ := net.SplitHostPort(e.addr)
	return host
}

// parseEndpoint accepts what clientv3 connects to and says in its error what
// is wrong with the rest, much of which clientv3 would take and then wait for
// ever. s has no space around it.
func parseEndpoint(s string) (endpoint, error) {
	if strings.ContainsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsGraphic(r) }) {
		return endpoint{}, errors.New("has a space or a control character in it")
	}
	if strings.Contains(s, "@") { // first, so that no message below quotes a password
		return endpoint{}, errors.New("has a user in it; there are the settings User and Password")
	}
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		scheme, rest = "", s
	}
	scheme = strings.ToLower(scheme)
	switch {
	case ok && (scheme == "unix" || scheme == "unixs"):
		return parseSocket(scheme, rest)
	case !ok || scheme == "http" || scheme == "https":
		return parseHostPort(scheme, rest)
	default:
		return endpoint{}, fmt.Errorf("unknown scheme %q: use http, https, unix or unixs", scheme)
	}
}

func parseSocket(scheme, path string) (endpoint, error) {
	if path == "" {
		return endpoint{}, errors.New("has no path of a socket")
	}
	// clientv3 makes a URL of the path without escaping it.
	if i := strings.IndexAny(path, "?#%"); i >= 0 {
		return endpoint{}, fmt.Errorf("clientv3 cannot use a socket with %q in its path", path[i])
	}
	return endpoint{text: scheme + "://" + path, scheme: scheme, network: "unix", addr: path}, nil
}

func parseHostPort(scheme, s string) (endpoint, error) {
	s = strings.TrimSuffix(s, "/")
	if strings.ContainsAny(s, "/?#") {
		return endpoint{}, errors.New("has a path, query or fragment: a host and a port are enough")
	}
	if strings.Contains(s, ",") {
		return endpoint{}, errors.New("has a comma in it: give each endpoint by itself")
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return endpoint{}, splitError(s)
	}
	if err := checkHost(host, strings.HasPrefix(s, "[")); err != nil {
		return endpoint{}, err
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return endpoint{}, fmt.Errorf("bad port %q: use a number from 1 to 65535", port)
	}
	text := s
	if scheme != "" {
		text = scheme + "://" + s
	}
	return endpoint{text: text, scheme: scheme, network: "tcp", addr: s}, nil
}

// splitError says why s is not host:port.
func splitError(s string) error {
	if _, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil || !strings.Contains(s, ":") {
		return errors.New("has no port; etcd's is 2379")
	}
	return errors.New("is not host:port, and an IPv6 address goes in brackets: [::1]:2379")
}

func checkHost(host string, brackets bool) error {
	if host == "" {
		return errors.New("has no host")
	}
	if strings.Contains(host, "%") {
		return errors.New("has an IPv6 zone, which is not supported")
	}
	ip, err := netip.ParseAddr(host)
	if brackets != (err == nil && ip.Is6()) {
		return fmt.Errorf("bad host %q: brackets are for IPv6 addresses", host)
	}
	if err == nil {
		return nil
	}
	labels := strings.Split(strings.TrimSuffix(host, "."), ".")
	if len(host) > 253 || slices.ContainsFunc(labels, badLabel) {
		return fmt.Errorf("bad host %q: neither an address nor a host name", host)
	}
	// Some resolvers take 127.1 for an address. None takes 10.0.0.256 for a name.
	if _, err := strconv.Atoi(labels[len(labels)-1]); err == nil {
		return fmt.Errorf("bad host %q: not an IPv4 address", host)
	}
	return nil
}

func badLabel(label string) bool {
	return label == "" || len(label) > 63 || strings.ContainsFunc(label, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_')
	})
}

// redact hides the password that may be in a malformed endpoint.
func redact(s string) string {
	at := strings.LastIndex(s, "@")
	if at < 0 {
		return s
	}
	for _, scheme := range []string{"http://", "https://"} {
		if strings.HasPrefix(s[:at], scheme) {
			return scheme + "xxxxx" + s[at:]
		}
	}
	return "xxxxx" + s[at:]
}

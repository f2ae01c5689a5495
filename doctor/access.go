package doctor

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
)

// auth is whether authentication is on.
type auth int

const (
	authUnknown auth = iota
	authOff
	authOn
)

// access: who may read and write everything?
func (e *examination) access() []Finding {
	if e.leases.auth == authOn {
		return []Finding{{ID: "auth", Severity: OK, What: "authentication: on"}}
	}
	var open, unsure []string
	for i := range e.after.Members {
		m := &e.after.Members[i]
		p := e.page(m.ID)
		switch {
		case !m.Reachable || !remote(m.ClientURLs) || p.certificate == demanded:
		case p.certificate == notDemanded || plain(m.ClientURLs):
			open = append(open, m.Label())
		default:
			unsure = append(unsure, m.Label())
		}
	}
	switch {
	case e.leases.auth == authUnknown && e.leases.problem != "":
		return nil // e.unmeasured says so
	case e.leases.auth == authUnknown:
		return []Finding{{
			ID: "auth-unknown", Severity: Info, What: "it is not known whether authentication is on: " + e.leases.authProblem,
			Why: "without it, every client that reaches a client port can read and write every key",
			Do:  "etcdctl auth status; before etcd 3.5: etcdctl user list as no user",
		}}
	case len(open) > 0:
		return []Finding{{
			ID: "auth-off", Severity: Problem, Members: open,
			What: fmt.Sprintf("authentication is off, and %s can be reached from other machines without a certificate", names(open)),
			Why:  "every client that reaches the client port can read, write and delete every key",
			Do:   "demand client certificates (--client-cert-auth with --trusted-ca-file), or turn authentication on (etcdctl auth enable), or let a firewall admit known clients only",
		}}
	case len(unsure) > 0:
		return []Finding{{
			ID: "auth-off", Severity: Warning, Members: unsure,
			What: fmt.Sprintf("authentication is off, and whether %s demands a certificate could not be seen", names(unsure)),
			Why:  "without either, every client that reaches the client port can read and write every key",
			Do:   "see that members run with --client-cert-auth, or turn authentication on (etcdctl auth enable)",
		}}
	}
	how := "the client ports are reached from their own machine only"
	if e.anyRemote() {
		how = "members demand a client certificate"
	}
	return []Finding{{ID: "auth", Severity: OK, What: "authentication: off, and " + how}}
}

func (e *examination) anyRemote() bool {
	for _, m := range e.after.Members {
		if remote(m.ClientURLs) {
			return true
		}
	}
	return false
}

// plaintext: does what is secret travel without TLS?
func (e *examination) plaintext() []Finding {
	var found []Finding
	c := e.after
	if open := c.labels(func(m *Member) bool { return plain(m.ClientURLs) }); len(open) > 0 {
		found = append(found, Finding{
			ID: "plaintext-client", Severity: Warning, Members: open,
			What: fmt.Sprintf("%s %s clients without TLS at an address that is not loopback", names(open), verb(open, "serves", "serve")),
			Why:  "passwords, tokens and values can be read and changed on the way",
			Do:   "give the members certificates (--cert-file, --key-file) and https:// in --listen-client-urls and --advertise-client-urls",
		})
	}
	if open := c.labels(func(m *Member) bool { return plain(m.PeerURLs) }); len(open) > 0 {
		found = append(found, Finding{
			ID: "plaintext-peer", Severity: Warning, Members: open,
			What: fmt.Sprintf("%s %s peers without TLS at an address that is not loopback", names(open), verb(open, "talks to", "talk to")),
			Why:  "the whole database can be read on the way; every process that reaches the peer port can pretend to be a member",
			Do:   "give the members certificates (--peer-cert-file, --peer-key-file, --peer-client-cert-auth) and change the peer URLs to https:// (etcdctl member update)",
		})
	}
	if len(found) == 0 {
		found = append(found, Finding{ID: "plaintext", Severity: OK, What: "encryption: nothing leaves a machine without TLS"})
	}
	return found
}

// gateway: may web pages talk to etcd?
func (e *examination) gateway() []Finding {
	var open, on []string
	known := false
	for i := range e.after.Members {
		m := &e.after.Members[i]
		p := e.page(m.ID)
		known = known || p.served
		switch {
		case p.gateway && p.anyOrigin && p.certificate != demanded && e.leases.auth != authOn:
			open = append(open, m.Label())
		case p.gateway:
			on = append(on, m.Label())
		}
	}
	switch {
	case !known:
		return []Finding{{ID: "gateway-unknown", Severity: Info, What: "no member serves HTTP at its client URL, so the JSON gateway could not be seen",
			Why: "a gateway that is on can be used by web pages", Do: "see whether members run with --enable-grpc-gateway=false"}}
	case len(open) > 0:
		return []Finding{{
			ID: "gateway-open", Severity: Warning, Members: open,
			What: fmt.Sprintf("the JSON gateway of %s is on, asks for no password, and allows every origin (CORS *)", names(open)),
			Why:  "a web page that is open on any machine that reaches the port can read and write keys",
			Do:   "turn it off (--enable-grpc-gateway=false), or set --cors and --host-whitelist to your own sites",
		}}
	case len(on) > 0:
		return []Finding{{
			ID: "gateway", Severity: Info, Members: on, What: fmt.Sprintf("the JSON gateway of %s is on", names(on)),
			Why: "it is one more way in", Do: "if nothing uses it: --enable-grpc-gateway=false",
		}}
	}
	return []Finding{{ID: "gateway", Severity: OK, What: "JSON gateway: off"}}
}

// plain tells whether one of the URLs is without TLS and not on loopback.
func plain(urls []string) bool {
	for _, text := range urls {
		if strings.HasPrefix(strings.ToLower(text), "http://") && !loopback(text) {
			return true
		}
	}
	return false
}

// remote tells whether one of the URLs is not on loopback.
func remote(urls []string) bool {
	for _, text := range urls {
		if !loopback(text) {
			return true
		}
	}
	return false
}

// loopback tells whether what is sent to a URL stays on the machine. A name other than localhost counts as remote.
func loopback(text string) bool {
	if strings.HasPrefix(text, "unix") {
		return true
	}
	host := text
	if u, err := url.Parse(text); err == nil && u.Host != "" {
		host = u.Hostname()
	} else if h, _, err := net.SplitHostPort(text); err == nil {
		host = h
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Unmap().IsLoopback()
	}
	return strings.EqualFold(host, "localhost")
}

package cluster

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/etcdkit/etcdkit/internal/errtext"
)

// maxMembers is the largest cluster that Options can ask for.
const maxMembers = 5

func memberName(i int) string { return fmt.Sprintf("etcd%d", i+1) }

// usualPorts are those of upstream's Procfile: etcd1 2379/2380, etcd2 22379/22380, …
func usualPorts(i int) (client, peer int) {
	client = 2379
	if i > 0 {
		client += 10000 * (i + 1)
	}
	return client, client + 1
}

// openPorts listens before any member starts, so that a taken port costs nothing.
func (c *Cluster) openPorts() error {
	var initial []string
	for i := range c.opts.Members {
		m := &member{name: memberName(i), status: Stopped}
		clientPort, peerPort := c.portsFor(i)
		m.client = &proxy{member: m.name, net: c.net, direct: c.opts.Direct, addr: loopback(clientPort), target: filepath.Join(c.run, m.name+".client")}
		m.peer = &proxy{member: m.name, net: c.net, direct: c.opts.Direct, addr: loopback(peerPort), target: filepath.Join(c.run, m.name+".peer"), from: c.dialer}
		c.members = append(c.members, m)
		for _, p := range []*proxy{m.client, m.peer} {
			if err := p.listen(); err != nil {
				return c.portError(p.addr, err)
			}
		}
		initial = append(initial, m.name+"=http://"+m.peer.addr)
	}
	for _, m := range c.members {
		m.spec = c.spec(m, strings.Join(initial, ","))
	}
	return nil
}

func (c *Cluster) portsFor(i int) (client, peer int) {
	switch {
	case c.data.reused:
		r := c.data.record.Members[i]
		return r.Client, r.Peer
	case c.opts.AnyPort:
		return 0, 0
	}
	return usualPorts(i)
}

func (c *Cluster) spec(m *member, initial string) spec {
	scheme, own := "http", m.client.target
	if c.opts.ClientTLS != nil {
		scheme, own = "https", filepath.Join(c.run, m.name+".own")
	}
	return spec{
		Name: m.name, Dir: filepath.Join(c.data.path, m.name), LogFile: filepath.Join(c.data.path, m.name+".log"),
		Token: c.data.record.Token, InitialCluster: initial, TLS: c.opts.ClientTLS, Direct: c.opts.Direct,
		Gateway: c.opts.Gateway, QuotaBytes: c.opts.QuotaBytes, AuthTokenTTL: c.opts.AuthTokenTTL, BcryptCost: c.opts.BcryptCost,
		OwnSocket: own, ClientSocket: m.client.target, PeerSocket: m.peer.target,
		ClientURL: scheme + "://" + m.client.addr, PeerURL: "http://" + m.peer.addr,
	}
}

func (c *Cluster) portRecords() []portRecord {
	var rs []portRecord
	for _, m := range c.members {
		rs = append(rs, portRecord{m.name, portOf(m.client.addr), portOf(m.peer.addr)})
	}
	return rs
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

func portOf(addr string) int {
	ap, err := netip.ParseAddrPort(addr)
	if err != nil {
		return 0
	}
	return int(ap.Port())
}

// PortTakenError is the ErrPortTaken that says which port it is and which process holds it.
type PortTakenError struct {
	Addr    string
	PID     int    // 0 where the system does not tell
	Program string // may be empty
	// Kept: the data directory is bound to this port, as etcd keeps its addresses in its data.
	Kept bool
}

func (e *PortTakenError) Error() string {
	advice := "set AnyPort to use free ports"
	if e.Kept {
		advice = "use another data directory: etcd keeps its addresses in its data"
	}
	return fmt.Sprintf("%v: %s is held by %s; stop it, or %s", ErrPortTaken, e.Addr, e.Holder(), advice)
}

func (e *PortTakenError) Is(target error) bool { return target == ErrPortTaken }

// Holder is the process that holds the port, in words.
func (e *PortTakenError) Holder() string {
	switch {
	case e.PID == 0:
		return "another process"
	case e.Program == "":
		return fmt.Sprintf("pid %d", e.PID)
	}
	return fmt.Sprintf("pid %d (%s)", e.PID, e.Program)
}

// portError names the process that holds a taken port.
func (c *Cluster) portError(addr string, err error) error {
	if !errors.Is(err, errAddrInUse) {
		return errtext.Errorf("cluster: listen on %s: %w", addr, err)
	}
	e := &PortTakenError{Addr: addr, Kept: c.data.reused || c.serving.Load()}
	e.PID, e.Program = listenerOf(portOf(addr))
	return e
}

// dialer tells which member opened a peer connection, or "".
func (c *Cluster) dialer(in net.Conn) string {
	from, err1 := netip.ParseAddrPort(in.RemoteAddr().String())
	to, err2 := netip.ParseAddrPort(in.LocalAddr().String())
	if err1 != nil || err2 != nil {
		return ""
	}
	byPID := make(map[int]string)
	var pids []int
	c.mu.Lock()
	for _, m := range c.members {
		if m.node != nil {
			byPID[m.node.pid()] = m.name
			pids = append(pids, m.node.pid())
		}
	}
	c.mu.Unlock()
	return byPID[dialerOf(from, to, pids)]
}

package client

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/etcdkit/etcdkit/internal/devdir"
	"github.com/etcdkit/etcdkit/internal/errtext"
)

const (
	// devLine bounds what is read of a file with endpoints.
	devLine = 4 << 10
	// acceptTimeout is how long an address on this machine may take to accept.
	acceptTimeout = 500 * time.Millisecond
)

// devCluster is a cluster that etcdkit dev runs for this user on this machine.
type devCluster struct {
	port      string // of the first member
	endpoints []endpoint
}

func (d devCluster) list() string {
	texts := make([]string, len(d.endpoints))
	for i, e := range d.endpoints {
		texts[i] = e.text
	}
	return strings.Join(texts, ",")
}

// findDev looks for a running dev cluster when no setting says where etcd is: the one at the default
// endpoint, all of whose members are used then, so that the client outlives the first one; or
// the only one that runs, if no process listens at the default endpoint. etcdkit ctl has the same rules,
// except for what it means that a cluster runs: here that one of its members accepts connections, there that
// the process that runs it answers on its socket.
func (c *config) findDev() error {
	if c.endpointsFrom.rank != fromNowhere || c.secure || c.user.value != "" {
		return nil
	}
	var live []devCluster
	for _, d := range devClusters(devdir.Path()) {
		if slices.ContainsFunc(d.endpoints, accepts) {
			live = append(live, d)
		}
	}
	for _, d := range live {
		if d.port == devdir.DefaultPort {
			c.endpoints = d.endpoints
			return nil
		}
	}
	if len(live) == 0 || accepts(c.endpoints[0]) {
		return nil
	}
	if len(live) > 1 {
		lines := make([]string, len(live))
		for i, d := range live {
			lines[i] = "export ETCDCTL_ENDPOINTS=" + d.list()
		}
		return configError("no process listens at %s, and several dev clusters are running; choose one: %s", defaultEndpoint, strings.Join(lines, "  or  "))
	}
	c.endpoints = live[0].endpoints
	return nil
}

// devClusters reads the files in a directory. It is empty if another user could have written
// them, and leaves out what is malformed.
func devClusters(dir string) []devCluster {
	if devdir.Check(dir) != nil {
		return nil
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var all []devCluster
	for _, f := range files {
		port, ok := strings.CutSuffix(f.Name(), devdir.EndpointsExt)
		if !ok || !f.Type().IsRegular() {
			continue
		}
		if endpoints, err := readDev(filepath.Join(dir, f.Name())); err == nil {
			all = append(all, devCluster{port, endpoints})
		}
	}
	return all
}

// readDev reads the endpoints in a file's first line: plaintext, on this machine.
func readDev(path string) ([]endpoint, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	line, err := bufio.NewReader(io.LimitReader(f, devLine)).ReadString('\n')
	if err != nil {
		return nil, errtext.Errorf("%s: no whole line: %w", path, err)
	}
	var all []endpoint
	for _, text := range tidy(strings.Split(line, ",")) {
		e, err := parseEndpoint(text)
		if err != nil || !e.loopback() || e.scheme != "" {
			return nil, errors.Join(fmt.Errorf("%s: endpoint %q is not of this machine", path, redact(text)), err)
		}
		all = append(all, e)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s: no endpoint", path)
	}
	return all, nil
}

// accepts tells whether a process accepts connections at an address of this machine.
func accepts(e endpoint) bool {
	conn, err := net.DialTimeout(e.network, e.addr, acceptTimeout)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

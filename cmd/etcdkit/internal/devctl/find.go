package devctl

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/out"
	"github.com/etcdkit/etcdkit/internal/devdir"
)

// running asks all dev clusters of the user for their status, at the same time. By port: those that
// answer, and why others that are there do not.
func running(ctx context.Context, dir string) (live map[string]cluster.State, silent map[string]error) {
	live, silent = make(map[string]cluster.State), make(map[string]error)
	entries, _ := os.ReadDir(dir) // not there: none
	var mu sync.Mutex
	var asking sync.WaitGroup
	for _, e := range entries {
		port, ok := strings.CutSuffix(e.Name(), devdir.SocketExt)
		if !ok {
			continue
		}
		asking.Go(func() { // status has a deadline
			socket := filepath.Join(dir, e.Name())
			st, err := ask(ctx, socket)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				live[port] = st
			} else if !errors.Is(err, errKilled) {
				silent[port] = fmt.Errorf("the dev cluster on port %s %w", port, err)
			}
		})
	}
	asking.Wait()
	return live, silent
}

// listener is the process that listens on a unix socket; 0 where the system does not tell.
func listener(socket string) (pid int, err error) {
	c, err := net.Dial("unix", socket)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	return peer(c.(*net.UnixConn)), nil
}

// errKilled: no process listens on the socket any more.
var errKilled = errors.New("was killed")

// ask asks for the status of the dev cluster behind a socket. Its error completes "the dev cluster …". The
// remains of a killed one are removed.
func ask(ctx context.Context, socket string) (cluster.State, error) {
	pid, err := listener(socket)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		removeStale(socket)
		return cluster.State{}, errKilled
	case err != nil:
		return cluster.State{}, fmt.Errorf("cannot be asked: %w", err)
	case stopped(pid):
		return cluster.State{}, fmt.Errorf("is stopped (pid %d, by Ctrl-Z?); let it go on: fg in its terminal, or kill -CONT %[1]d", pid)
	}
	st, err := (&Client{socket}).Status(ctx)
	if err != nil {
		return cluster.State{}, fmt.Errorf("does not answer (pid %d): %w", pid, err)
	}
	return st, nil
}

// Find finds the running dev cluster: the one whose first member has the given client port, or the one
// that the endpoints belong to, or else, with 0 and nil, the only one there is. Endpoints of the environment that
// belong to no dev cluster are an error: another one must not get a fault that was meant for theirs.
func Find(ctx context.Context, port int, endpoints []string) (*Client, error) {
	dir := devdir.Path()
	if err := trustControlDir(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	live, silent := running(ctx, dir)
	at := func(port string) *Client { return &Client{filepath.Join(dir, port+devdir.SocketExt)} }
	if port != 0 {
		p := strconv.Itoa(port)
		if err, ok := silent[p]; ok {
			return nil, err
		}
		if _, ok := live[p]; !ok {
			return nil, fmt.Errorf("no dev cluster has its first member on port %d; running: %s", port, ports(live))
		}
		return at(p), nil
	}
	if len(endpoints) > 0 {
		p := belongTo(endpoints, live, silent, dir)
		if err, ok := silent[p]; ok {
			return nil, err
		}
		if p != "" {
			return at(p), nil
		}
		if len(live) > 0 {
			return nil, &UsageError{fmt.Errorf("no dev cluster is at %s, which the environment names; choose one with --cluster PORT: %s", strings.Join(endpoints, ","), ports(live))}
		}
	}
	switch len(live) {
	case 0:
		for _, err := range silent {
			return nil, err
		}
		return nil, errors.New("no dev cluster is running; start one in another terminal: etcdkit dev")
	case 1:
		for p := range live {
			return at(p), nil
		}
	}
	return nil, &UsageError{fmt.Errorf("several dev clusters are running; choose one with --cluster PORT: %s", ports(live))}
}

// belongTo is the port of the cluster that the endpoints belong to, or "".
func belongTo(endpoints []string, live map[string]cluster.State, silent map[string]error, dir string) string {
	serves := make(map[string][]string)
	for p, s := range live {
		serves[p] = s.Endpoints
	}
	for p := range silent {
		file, _ := os.ReadFile(filepath.Join(dir, p+devdir.EndpointsExt)) // dev run has none
		serves[p] = append(strings.Split(strings.TrimSpace(string(file)), ","), "127.0.0.1:"+p)
	}
	for p, own := range serves {
		for _, e := range endpoints {
			if slices.ContainsFunc(own, func(own string) bool { return hostPort(e) == hostPort(own) }) {
				return p
			}
		}
	}
	return ""
}

// hostPort is an endpoint without its scheme, on 127.0.0.1 whichever way loopback is written.
func hostPort(endpoint string) string {
	_, addr, ok := strings.Cut(endpoint, "://")
	if !ok {
		addr = endpoint
	}
	host, port, err := net.SplitHostPort(addr)
	if err == nil && (host == "localhost" || host == "::1") {
		return net.JoinHostPort("127.0.0.1", port)
	}
	return addr
}

func ports(live map[string]cluster.State) string {
	var all []string
	for p, s := range live {
		all = append(all, fmt.Sprintf("%s (%s)", p, out.Count(len(s.Members), "member")))
	}
	if len(all) == 0 {
		return "none"
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// FindEndpoints finds the dev cluster that is meant when nothing says which: the one at localhost:2379, or the only
// one there is, if none is at localhost:2379. It is nil without an error if there is none.
// Clusters of dev run are for their command alone. Package client has the same rules, except that a cluster
// runs for it if a member accepts connections, and here if its process answers on its socket.
func FindEndpoints() (endpoints []string, err error) {
	dir := devdir.Path()
	if err := trustControlDir(dir); err != nil {
		return nil, nil // not there, or not to be believed
	}
	ctx, cancel := context.WithTimeout(context.Background(), statusTimeout)
	defer cancel()
	live, silent := running(ctx, dir)
	forItsCommand := func(port string) bool {
		_, err := os.Lstat(filepath.Join(dir, port+devdir.EndpointsExt))
		return err != nil
	}
	maps.DeleteFunc(live, func(port string, _ cluster.State) bool { return forItsCommand(port) })
	maps.DeleteFunc(silent, func(port string, _ error) bool { return forItsCommand(port) })
	if s, ok := live[devdir.DefaultPort]; ok {
		return s.Endpoints, nil
	}
	if err, ok := silent[devdir.DefaultPort]; ok {
		return nil, err
	}
	if c, err := net.Dial("tcp", "127.0.0.1:"+devdir.DefaultPort); err == nil {
		c.Close()
		return nil, nil // another etcd, as upstream would have it
	}
	if len(live) > 1 {
		var all []string
		for _, s := range live {
			all = append(all, ExportLine(s))
		}
		slices.Sort(all)
		return nil, fmt.Errorf("several dev clusters are running; choose one: %s", strings.Join(all, "  or  "))
	}
	for _, s := range live {
		return s.Endpoints, nil
	}
	return nil, nil
}

// ExportLine is what a shell is told so that its programs use the cluster.
func ExportLine(s cluster.State) string {
	return "export ETCDCTL_ENDPOINTS=" + strings.Join(s.Endpoints, ",")
}

// Choice is what a command that speaks to a cluster adds to mean this one: nothing at the usual ports.
func Choice(s cluster.State) string {
	if p := portOf(s.Endpoints); p != devdir.DefaultPort {
		return " --cluster " + p // there may be another one
	}
	return ""
}

// portOf is that of a cluster's first member.
func portOf(endpoints []string) string {
	_, port, _ := net.SplitHostPort(hostPort(endpoints[0]))
	return port
}

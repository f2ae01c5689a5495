package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/etcdkit/etcdkit/client"
	"github.com/etcdkit/etcdkit/cluster"
)

// A running dev cluster listens on a unix socket, mode 0600, in a directory of the user's own,
// named after the client port of its first member. Requests and replies are JSON over HTTP.

type request struct {
	Verb string   `json:"verb"`
	Args []string `json:"args"`
}

type reply struct {
	Change  *cluster.Change             `json:"change,omitempty"`
	Error   string                      `json:"error,omitempty"`
	Usage   bool                        `json:"usage,omitempty"` // the error is the caller's
	Unknown *cluster.UnknownMemberError `json:"unknown,omitempty"`
}

const (
	// faultTimeout bounds one fault: a graceful stop and an election, generously.
	faultTimeout  = time.Minute
	statusTimeout = 5 * time.Second
)

// controlDir is where the sockets are, the same for all terminals of the user whatever their
// TMPDIR, and short enough for a socket's path.
func controlDir() string {
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		return filepath.Join(dir, "etcdkit")
	}
	if runtime.GOOS == "windows" {
		return filepath.Join(os.TempDir(), "etcdkit")
	}
	return "/tmp/etcdkit-" + strconv.Itoa(os.Getuid())
}

// makeControlDir makes the directory; who makes it removes it.
func makeControlDir() (string, error) {
	dir := controlDir()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("directory for control sockets: %w", err)
	}
	return dir, trustControlDir(dir)
}

// trustControlDir refuses a directory that somebody else could have put sockets in: whoever
// answers on one is believed.
func trustControlDir(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return fmt.Errorf("directory for control sockets: %w", err)
	}
	if !info.IsDir() || !ownersAlone(info) {
		return fmt.Errorf("directory for control sockets: %s is not yours alone; remove it, or point XDG_RUNTIME_DIR at a directory that is", dir)
	}
	return nil
}

// serveControl serves the cluster's control socket in dir. told hears of each change. The returned
// function ends it and removes the socket.
func serveControl(dir string, c *cluster.Cluster, told func(*cluster.Change)) (stop func(), err error) {
	path := filepath.Join(dir, firstPort(c.Status().Members[0].Client)+".sock")
	_ = os.Remove(path) // left by a killed cluster: this one holds the port now
	ln, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		ln.Close()
		return nil, fmt.Errorf("control socket: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) { answer(w, c.Status()) })
	mux.HandleFunc("POST /fault", func(w http.ResponseWriter, r *http.Request) { answer(w, obey(r, c, told)) })
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: statusTimeout}
	served := make(chan struct{})
	go func() { defer close(served); _ = srv.Serve(ln) }() // ends with stop
	return func() {
		srv.Close()
		<-served
	}, nil
}

// usualPort is where the first member of a cluster serves, unless something else was asked for.
const usualPort = "2379"

func firstPort(addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	return port
}

func answer(w http.ResponseWriter, what any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(what) // a caller that is gone
}

func obey(r *http.Request, c *cluster.Cluster, told func(*cluster.Change)) reply {
	var req request
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		return reply{Error: err.Error()}
	}
	i := slices.IndexFunc(faults, func(f fault) bool { return f.verb == req.Verb })
	if i < 0 {
		return reply{Error: fmt.Sprintf("unknown fault %q: the running cluster is of another version", req.Verb)}
	}
	if err := faults[i].check(&cobra.Command{Use: req.Verb}, req.Args); err != nil {
		return reply{Error: err.Error()}
	}
	ctx, cancel := context.WithTimeout(r.Context(), faultTimeout)
	defer cancel()
	change, err := faults[i].do(ctx, c, req.Args)
	if err != nil {
		rep := reply{Error: err.Error(), Usage: errors.Is(err, cluster.ErrOptions)}
		errors.As(err, &rep.Unknown)
		return rep
	}
	told(change)
	return reply{Change: change}
}

// control speaks to a running dev cluster.
type control struct{ socket string }

func (k control) status(ctx context.Context) (cluster.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	var s cluster.Status
	return s, k.call(ctx, http.MethodGet, "/status", nil, &s)
}

func (k control) fault(ctx context.Context, verb string, args []string) (*cluster.Change, error) {
	ctx, cancel := context.WithTimeout(ctx, faultTimeout+statusTimeout)
	defer cancel()
	b, err := json.Marshal(request{verb, args})
	if err != nil {
		return nil, err
	}
	var r reply
	if err := k.call(ctx, http.MethodPost, "/fault", bytes.NewReader(b), &r); err != nil {
		return nil, err
	}
	if r.Unknown != nil {
		return nil, &usageError{r.Unknown}
	}
	if r.Usage {
		return nil, &usageError{errors.New(r.Error)}
	}
	if r.Error != "" {
		return nil, errors.New(r.Error)
	}
	return r.Change, nil
}

func (k control) call(ctx context.Context, method, path string, body io.Reader, into any) error {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", k.socket)
	}
	hc := &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(ctx, method, "http://etcdkit"+path, body)
	if err != nil {
		return err
	}
	resp, err := hc.Do(req)
	if err != nil {
		return fmt.Errorf("ask the cluster at %s: %w", k.socket, err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		return fmt.Errorf("ask the cluster at %s: %w", k.socket, err)
	}
	return nil
}

// findControl finds the running dev cluster: the one whose first member has the given client
// port, the only one there is, or the one that the environment's endpoints point at.
func findControl(ctx context.Context, port int) (control, error) {
	dir := controlDir()
	if err := trustControlDir(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		return control{}, err
	}
	sockets, err := filepath.Glob(filepath.Join(dir, "*.sock"))
	if err != nil {
		return control{}, err
	}
	live := make(map[string]cluster.Status) // by port
	for _, s := range sockets {
		if st, err := (control{s}).status(ctx); err == nil {
			live[strings.TrimSuffix(filepath.Base(s), ".sock")] = st
		} else if ctx.Err() == nil {
			removeStale(s)
		}
	}
	at := func(port string) control { return control{filepath.Join(dir, port+".sock")} }
	if port != 0 {
		if _, ok := live[strconv.Itoa(port)]; !ok {
			return control{}, fmt.Errorf("no dev cluster has its first member on port %d; running: %s", port, ports(live))
		}
		return at(strconv.Itoa(port)), nil
	}
	switch len(live) {
	case 0:
		return control{}, errors.New("no dev cluster is running; start one in another terminal: etcdkit dev")
	case 1:
		for p := range live {
			return at(p), nil
		}
	}
	if inEnvironment() {
		if p := pointedAt(live); p != "" {
			return at(p), nil
		}
	}
	return control{}, usagef("several dev clusters are running; choose one with --cluster PORT: %s", ports(live))
}

// removeStale removes a socket that nobody listens on: its cluster was killed.
func removeStale(socket string) {
	c, err := net.Dial("unix", socket)
	if err != nil {
		_ = os.Remove(socket)
		return
	}
	c.Close()
}

// pointedAt is the port of the cluster that the environment's endpoints belong to, or "".
func pointedAt(live map[string]cluster.Status) string {
	endpoints, err := client.Endpoints(nil)
	if err != nil {
		return ""
	}
	for p, s := range live {
		for _, e := range endpoints {
			if slices.ContainsFunc(s.Endpoints, func(own string) bool { return hostPort(e) == hostPort(own) }) {
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

func ports(live map[string]cluster.Status) string {
	var all []string
	for p, s := range live {
		all = append(all, fmt.Sprintf("%s (of %d)", p, len(s.Members)))
	}
	if len(all) == 0 {
		return "none"
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

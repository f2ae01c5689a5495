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
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/etcdkit/etcdkit/cluster"
)

// A running dev cluster listens on a unix socket (sockets.go). Requests and replies are JSON over HTTP.

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
	// mostRequest bounds the size of a request: a verb and some names.
	mostRequest = 64 << 10
)

// serveControl serves the cluster's control socket. told is called with each change. The returned
// function ends it and removes the socket.
func serveControl(c *cluster.Cluster, told func(*cluster.Change)) (stop func(), err error) {
	ln, remove, err := listenControl(firstPort(c.State().Members[0].Client))
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) { answer(w, c.State()) })
	mux.HandleFunc("POST /fault", func(w http.ResponseWriter, r *http.Request) {
		req, err := readRequest(w, r)
		if err != nil {
			answer(w, reply{Error: err.Error()})
			return
		}
		answer(w, obey(r.Context(), req, c, told))
	})
	srv := &http.Server{Handler: mux, MaxHeaderBytes: mostRequest, ReadHeaderTimeout: statusTimeout, IdleTimeout: statusTimeout}
	served := make(chan struct{})
	go func() { defer close(served); _ = srv.Serve(ln) }() // ends with stop
	return func() {
		remove()
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

// readRequest reads a request of bounded size within a bounded time. The fault may take longer.
func readRequest(w http.ResponseWriter, r *http.Request) (req request, err error) {
	timeout := http.NewResponseController(w)
	if err := timeout.SetReadDeadline(time.Now().Add(statusTimeout)); err != nil {
		return req, err
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, mostRequest)).Decode(&req); err != nil {
		return req, fmt.Errorf("read the request: %w", err)
	}
	return req, timeout.SetReadDeadline(time.Time{})
}

func obey(ctx context.Context, req request, c *cluster.Cluster, told func(*cluster.Change)) reply {
	i := slices.IndexFunc(faults, func(f fault) bool { return f.verb == req.Verb })
	if i < 0 {
		return reply{Error: fmt.Sprintf("unknown fault %q: the running cluster is of another version", req.Verb)}
	}
	if err := faults[i].check(&cobra.Command{Use: req.Verb}, req.Args); err != nil {
		return reply{Error: err.Error()}
	}
	ctx, cancel := context.WithTimeout(ctx, faultTimeout)
	defer cancel()
	change, err := faults[i].do(ctx, c, req.Args)
	if err != nil {
		rep := reply{Error: err.Error(), Usage: errors.Is(err, cluster.ErrInvalid)}
		errors.As(err, &rep.Unknown)
		return rep
	}
	told(change)
	return reply{Change: change}
}

// control speaks to a running dev cluster.
type control struct{ socket string }

func (k control) status(ctx context.Context) (cluster.State, error) {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	var s cluster.State
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

package devctl

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/etcdkit/etcdkit/cluster"
)

type request struct {
	Verb string   `json:"verb"`
	Args []string `json:"args"`
}

type reply struct {
	Change  *cluster.Change             `json:"change,omitempty"`
	Member  *cluster.MemberState        `json:"member,omitempty"`
	Error   string                      `json:"error,omitempty"`
	Usage   bool                        `json:"usage,omitempty"` // the error is the caller's
	Unknown *cluster.UnknownMemberError `json:"unknown,omitempty"`
}

// failed is the reply with an error, which err takes out of it again.
func failed(err error) reply {
	r := reply{Error: err.Error(), Usage: errors.Is(err, cluster.ErrInvalid)}
	errors.As(err, &r.Unknown)
	return r
}

func (r *reply) err() error {
	switch {
	case r.Unknown != nil:
		return &UsageError{r.Unknown}
	case r.Usage:
		return &UsageError{errors.New(r.Error)}
	case r.Error != "":
		return errors.New(r.Error)
	}
	return nil
}

const (
	// faultTimeout bounds one fault: a graceful stop and an election, generously.
	faultTimeout  = time.Minute
	statusTimeout = 5 * time.Second
	// mostRequest bounds the size of a request: a verb and some names.
	mostRequest = 64 << 10
)

// Serve serves the cluster's control socket. told is called with each change. The returned
// function ends it and removes the socket.
func Serve(c *cluster.Cluster, told func(*cluster.Change)) (stop func(), err error) {
	ln, remove, err := listenControl(portOf(c.Endpoints()))
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) { answer(w, c.State()) })
	mux.HandleFunc("GET /member", func(w http.ResponseWriter, r *http.Request) { answer(w, member(c, r.FormValue("name"))) })
	mux.HandleFunc("POST /fault", func(w http.ResponseWriter, r *http.Request) {
		req, err := readRequest(w, r)
		if err != nil {
			answer(w, failed(err))
			return
		}
		answer(w, handle(r.Context(), req, c, told))
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

func member(c *cluster.Cluster, name string) reply {
	name, err := c.MemberName(name)
	if err != nil {
		return failed(err)
	}
	members := c.State().Members
	i := slices.IndexFunc(members, func(m cluster.MemberState) bool { return m.Name == name })
	return reply{Member: &members[i]}
}

func handle(ctx context.Context, req request, c *cluster.Cluster, told func(*cluster.Change)) reply {
	faults := Faults()
	i := slices.IndexFunc(faults, func(f Fault) bool { return f.Verb == req.Verb })
	if i < 0 {
		return reply{Error: fmt.Sprintf("unknown fault %q: the running cluster is of another version", req.Verb)}
	}
	if err := faults[i].Check(req.Args); err != nil {
		return failed(err)
	}
	ctx, cancel := context.WithTimeout(ctx, faultTimeout)
	defer cancel()
	change, err := faults[i].do(ctx, c, req.Args)
	if err != nil {
		return failed(err)
	}
	told(change)
	return reply{Change: change}
}

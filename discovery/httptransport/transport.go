package httptransport

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/discovery"
	"github.com/etcdkit/etcdkit/discovery/internal/explain"
	"github.com/etcdkit/etcdkit/internal/cause"
	"github.com/etcdkit/etcdkit/internal/quote"
)

var (
	// ErrInvalid: the URL does not name a service, or the prefix is not valid. Nothing was sent. It is
	// registry.ErrInvalid.
	ErrInvalid = discovery.ErrInvalid
	// ErrClosed: the Transport was closed, or the etcd client that it stands on. The text says which.
	ErrClosed = errors.New("httptransport: closed")
)

// Options of New. nil and the zero value are the defaults.
type Options struct {
	// View is for the services' lists: where they are, and how instances are chosen.
	View discovery.Options
	// Base sends the requests. Default an http.Transport without a proxy that connects within
	// 2 s and keeps up to 100 idle connections an instance for 30 s.
	//
	// An *http.Transport is a pattern: each instance has a copy of it, so its limits are those
	// of one instance. Any other RoundTripper is used as it is; the host of the URLs it is given
	// is an instance's address, which is then what https verifies, and idle connections to an
	// instance that left stay for as long as it likes.
	Base http.RoundTripper
	// Logger gets a line when an instance is avoided and when it is used again, when none is left
	// that does not fail, and what View.Logger gets, which it is the default of. nil is silent.
	Logger *slog.Logger
	// Attempts is how many instances a request is tried at. Default 3; 1 never tries again.
	Attempts int
	// AnswerTimeout is how long an instance may take to accept a connection, and to begin its answer
	// once the request is sent, before a request that can be sent twice goes to another one, if
	// there is one; while a body is sent, how long it may take none of it. Default for ever: only
	// you know how long your answers take. At an instance that failed before it is half of what is
	// left of the request's time, if that is less.
	AnswerTimeout time.Duration
}

// Transport is an http.RoundTripper whose hosts are services. Its methods may be called from any
// goroutine.
type Transport struct {
	cli     *clientv3.Client
	opts    Options
	pattern *http.Transport // nil: opts.Base is used as it is

	requests, retries atomic.Uint64

	life context.Context // ends with Close
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu       sync.Mutex
	services map[string]*service
	closed   bool
}

// New returns a Transport. It sends nothing; Close it before cli.
func New(cli *clientv3.Client, opts *Options) *Transport {
	t := &Transport{cli: cli, services: make(map[string]*service)}
	if opts != nil {
		t.opts = *opts
	}
	if t.opts.View.Logger == nil {
		t.opts.View.Logger = t.opts.Logger
	}
	if t.opts.Attempts <= 0 {
		t.opts.Attempts = 3
	}
	if t.opts.Base == nil {
		t.opts.Base = &http.Transport{
			DialContext:           (&net.Dialer{Timeout: 2 * time.Second}).DialContext,
			TLSHandshakeTimeout:   5 * time.Second,
			ExpectContinueTimeout: time.Second,
			MaxIdleConnsPerHost:   100,
			IdleConnTimeout:       30 * time.Second,
			ForceAttemptHTTP2:     true,
		}
	}
	if base, ok := t.opts.Base.(*http.Transport); ok {
		t.pattern = base.Clone() // what becomes of the caller's is none of our business
		if base.TLSNextProto["h2"] != nil {
			t.pattern.ForceAttemptHTTP2 = true // a copy would forget it, as it has a TLSClientConfig
		}
	}
	t.life, t.stop = context.WithCancel(context.Background())
	return t
}

// RoundTrip sends the request to an instance of the service that its URL names, and where that
// fails and it is safe, to another one. The first request for a service waits until its list is
// there, for 15 s at most.
//
// The errors are ErrInvalid and ErrClosed, discovery.ErrNone when the service has no instance, those
// of discovery.Open, the context's, and otherwise one that names the instances that were tried,
// with each one's cause within reach of errors.Is and errors.As.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	t.requests.Add(1)
	r := newRequest(t, req)
	resp, err := r.run()
	if err != nil {
		r.body.drop()
	}
	return resp, err
}

// serviceOf is the service that a URL names.
func serviceOf(u *url.URL) (string, error) {
	bad := func(why string) (string, error) {
		return "", cause.Errorf("httptransport: URL %s: %w: %s", quote.Text(u.Redacted()), ErrInvalid, why)
	}
	switch {
	case u == nil:
		return "", cause.Errorf("httptransport: request: %w: it has no URL", ErrInvalid)
	case u.Scheme != "http" && u.Scheme != "https":
		return bad("want http:// or https://")
	case u.Host == "":
		return bad("it has no host: want http://SERVICE/path")
	case u.User != nil:
		return bad("it has credentials: put them in the header Authorization")
	case strings.Contains(u.Host, ":"):
		return bad("it has a port: want a service alone, whose instances say where they listen")
	}
	return u.Host, nil
}

// Stats is what a Transport has done so far.
type Stats struct {
	Requests uint64
	Retries  uint64 // requests sent once more, to another instance
}

// Stats returns the counters.
func (t *Transport) Stats() Stats { return Stats{t.requests.Load(), t.retries.Load()} }

// View is the list that the service's requests go by, opened if need be: for its State, say. It is
// the Transport's to close.
func (t *Transport) View(ctx context.Context, service string) (*discovery.View, error) {
	s, err := t.open(ctx, service)
	if err != nil {
		return nil, err
	}
	return s.view, nil
}

// CloseIdleConnections is what http.Client.CloseIdleConnections calls.
func (t *Transport) CloseIdleConnections() {
	if base, ok := t.opts.Base.(interface{ CloseIdleConnections() }); ok && t.pattern == nil { // otherwise it has none of ours
		base.CloseIdleConnections()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.services {
		s.closeIdle()
	}
}

// clientClosed is the error of a Transport whose etcd client was closed.
func (t *Transport) clientClosed() error {
	return fmt.Errorf("%w: %s", ErrClosed, explain.ClientClosed("the Transport"))
}

// Close ends the services' lists and closes idle connections. Requests under way go on, others get
// ErrClosed. It is idempotent. The end of the etcd client has the same effect.
func (t *Transport) Close() error {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.stop()
	t.wg.Wait()
	return nil
}

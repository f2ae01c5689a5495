package httptransport

import (
	"context"
	"errors"
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
	"github.com/etcdkit/etcdkit/internal/errtext"
	"github.com/etcdkit/etcdkit/internal/quote"
)

var (
	// ErrInvalid: the URL does not name a service, or the prefix is not valid. Nothing was sent. It is
	// registry.ErrInvalid.
	ErrInvalid = discovery.ErrInvalid
	// ErrClosed: the Transport was closed, or the etcd client that it uses. The text says which.
	ErrClosed = errors.New("httptransport: closed")
)

// Options of New. nil and the zero value are the defaults.
type Options struct {
	// View are the options of the services' Views: where services are, and how instances are chosen.
	View discovery.Options
	// Base sends the requests. Default an http.Transport without a proxy that connects within
	// 2 s and keeps up to 100 idle connections an instance for 30 s.
	//
	// Each instance has a copy of an *http.Transport, so its limits are those of one instance. Any
	// other RoundTripper is used as it is: it gets URLs whose host is an instance's address, which is
	// then what https verifies, and decides itself how long it keeps idle connections to an instance
	// that left.
	Base http.RoundTripper
	// Logger is used if View.Logger is nil. If both are nil, the Transport is silent.
	Logger *slog.Logger
	// Attempts is at how many instances a request is tried. Default 3, also for a negative
	// number; with 1 it is not tried again.
	Attempts int
	// AnswerTimeout is how long an instance may take to accept a connection, and to begin its answer
	// once the request is sent, before a request that can be sent twice goes to another instance, if
	// there is one. While a body is sent, it is how long the instance may read nothing. Default no
	// limit: only you know how long your answers take. At an instance that failed before, the limit is
	// half of the request's remaining time, if that is less.
	AnswerTimeout time.Duration
}

// Transport is an http.RoundTripper whose hosts are services. Its methods may be called from any
// goroutine.
type Transport struct {
	cli      *clientv3.Client
	opts     Options
	template *http.Transport // each instance has a copy; nil: opts.Base is used as it is

	requests, retries atomic.Uint64

	life context.Context // ends with Close
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu       sync.Mutex
	services map[string]*service
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
		t.template = base.Clone() // the caller may go on changing base
		if base.TLSNextProto["h2"] != nil {
			t.template.ForceAttemptHTTP2 = true // a copy has a TLSClientConfig, and would not use HTTP/2 by itself
		}
	}
	t.life, t.stop = context.WithCancel(context.Background())
	return t
}

// RoundTrip sends the request to an instance of the service that its URL names. If that fails and it
// is safe, it sends it to another one. The first request for a service waits until its list is open,
// for 15 s at most.
//
// The errors are ErrInvalid and ErrClosed, discovery.ErrNone when the service has no instance, those
// of discovery.Open, the context's, and otherwise an error that names the instances that were tried.
// errors.Is and errors.As find the cause of each.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	t.requests.Add(1)
	r := newRequest(t, req)
	resp, err := r.run()
	if err != nil {
		r.body.finish()
	}
	return resp, err
}

// serviceOf returns the service that a URL names.
func serviceOf(u *url.URL) (string, error) {
	invalid := func(why string) (string, error) {
		return "", errtext.Errorf("httptransport: URL %s: %w: %s", quote.Text(u.Redacted()), ErrInvalid, why)
	}
	switch {
	case u == nil:
		return "", errtext.Errorf("httptransport: request: %w: it has no URL", ErrInvalid)
	case u.Scheme != "http" && u.Scheme != "https":
		return invalid("want http:// or https://")
	case u.Host == "":
		return invalid("it has no host: want http://SERVICE/path")
	case u.User != nil:
		return invalid("it has credentials: put them in the header Authorization")
	case strings.Contains(u.Host, ":"):
		return invalid("it has a port: want a service alone, whose instances say where they listen")
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

// View returns the View that the service's requests use, and opens it if necessary: for its State, for
// example. The Transport closes it.
func (t *Transport) View(ctx context.Context, service string) (*discovery.View, error) {
	s, err := t.open(ctx, service)
	if err != nil {
		return nil, err
	}
	return s.view, nil
}

// CloseIdleConnections closes idle connections: http.Client.CloseIdleConnections calls it.
func (t *Transport) CloseIdleConnections() {
	if base, ok := t.opts.Base.(interface{ CloseIdleConnections() }); ok && t.template == nil { // otherwise base has no connection
		base.CloseIdleConnections()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.services {
		s.closeIdle()
	}
}

// closedError returns why a service has no list any more; nil: neither the Transport nor its etcd client is closed.
func (t *Transport) closedError(service string) error {
	var why string
	switch {
	case t.life.Err() != nil:
		why = "the Transport was closed"
	case t.cli.Ctx().Err() != nil:
		why = explain.ClientClosed("the Transport")
	default:
		return nil
	}
	return errtext.Errorf("httptransport: service %s: %w: %s", quote.Text(service), ErrClosed, why)
}

// Close closes the services' lists and idle connections. Requests under way continue, others get
// ErrClosed. Close is idempotent. Closing the etcd client has the same effect.
func (t *Transport) Close() error {
	t.mu.Lock()
	t.stop() // under mu, so that no service is added to wg afterwards
	t.mu.Unlock()
	t.wg.Wait()
	return nil
}

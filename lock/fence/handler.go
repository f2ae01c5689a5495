package fence

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"

	"github.com/etcdkit/etcdkit/internal/quote"
)

// Options of Handler. nil and the zero value are the defaults.
type Options struct {
	// Name returns the name of the lock that protects what a request is about. The same thing must
	// always have the same name: beware of paths that can be written in two ways. Default: "default" for
	// every request.
	Name func(*http.Request) string
	// Required tells whether a request needs a token. Other requests pass without one, but if they have
	// a token it is checked. Default: all methods but GET, HEAD, OPTIONS and TRACE need one.
	Required func(*http.Request) bool
	// Store remembers the tokens. Default: a Memory of the handler's own.
	Store Store
	// Logger gets one line for each request that is refused because Store fails. nil is silent.
	Logger *slog.Logger
}

// Handler passes a request to next if the token in its TokenHeader is not older than any accepted before
// for the name of its lock. Otherwise it answers the request, with a line of text that says what to do:
//
//   - 412 Precondition Failed: the token is stale. Nothing was done. (Not 409: the token is a condition
//     in the request's header, and it does not hold.)
//   - 400 Bad Request: a token is required and missing, or is not a token.
//   - 409 Conflict: a newer token was accepted while next served this request, and next returned
//     without an answer. Only next knows what was done. It comes before what the newer request does.
//   - 503 Service Unavailable: the Store fails, or the request ended while it waited. Nothing was done.
//
// 412 and 409 name the newer token in TokenHeader.
//
// Next serves an accepted request with nothing older at the same time or later. A newer token is
// remembered at once, so that nothing older is accepted from then on. The Handler then ends the older
// requests that are being served: their context ends with the ErrStale as its Cause, and so does the
// reading of their body, even if the sender is paused. The newer request waits until next has returned
// from them, or until its own context ends. So a next that ignores its context holds up newer holders,
// and must not go on with its work after it has returned (put http.TimeoutHandler around this Handler,
// not inside). Requests with the same token are served at the same time.
//
// This holds within one Handler. Several Handlers do not know which requests the others are serving,
// even if they share a Store: if they write to one place, check there, as Table.Check does.
func Handler(next http.Handler, opts *Options) http.Handler {
	h := &handler{next: next, requests: requests{byName: make(map[string]map[*request]bool)}}
	if opts != nil {
		h.opts = *opts
	}
	if h.opts.Name == nil {
		h.opts.Name = func(*http.Request) string { return "default" }
	}
	if h.opts.Required == nil {
		h.opts.Required = writes
	}
	if h.opts.Store == nil {
		h.opts.Store = new(Memory)
	}
	h.opts.Logger = cmp.Or(h.opts.Logger, slog.New(slog.DiscardHandler))
	return h
}

// writes tells whether a request can change something: all methods but the safe ones (RFC 9110, 9.2.1).
func writes(r *http.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return false
	}
	return true
}

type handler struct {
	next     http.Handler
	opts     Options
	requests requests
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if len(r.Header.Values(TokenHeader)) == 0 && !h.opts.Required(r) {
		h.next.ServeHTTP(w, r)
		return
	}
	token, err := Token(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	name := h.opts.Name(r)
	ctx, end := context.WithCancelCause(r.Context())
	defer end(nil)
	// It is added before it is checked: a newer request that is accepted after that finds it.
	req := newRequest(token, end, w, r)
	rw := &responseWriter{ResponseWriter: w, request: req}
	h.requests.add(name, req)
	defer h.requests.remove(name, req)
	err = h.opts.Store.Check(ctx, name, token)
	if err == nil {
		err = h.requests.endOlder(ctx, name, req)
	}
	if err != nil {
		h.refuse(ctx, rw, r, name, err)
		return
	}
	r = r.WithContext(ctx)
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = &body{ReadCloser: r.Body, request: req}
	}
	h.next.ServeHTTP(rw, r)
	if stale := req.staleUnanswered(); stale != nil {
		answerStale(rw, stale, http.StatusConflict, " (The newer one came while this request was served: whether it was carried out is not known.)")
	}
}

// refuse answers a request that next has not seen.
func (h *handler) refuse(ctx context.Context, rw *responseWriter, r *http.Request, name string, err error) {
	stale, ok := errors.AsType[*StaleError](err)
	if !ok {
		stale = rw.request.stale() // which ended the context, so that the Store failed
	}
	switch {
	case stale != nil:
		answerStale(rw, stale, http.StatusPreconditionFailed, "")
	case errors.Is(err, errWaited):
		http.Error(rw, err.Error(), http.StatusServiceUnavailable)
	default: // the cause is not for clients
		h.opts.Logger.ErrorContext(ctx, "fence: a request is refused, as its token cannot be checked", "lock", quote.Word(name), "method", quote.Word(r.Method), "path", quote.Word(r.URL.Path), "error", err)
		http.Error(rw, fmt.Sprintf("fence: the token of lock %s cannot be checked now: try again; the server's log has the cause", quote.Text(name)), http.StatusServiceUnavailable)
	}
}

func answerStale(w http.ResponseWriter, stale *StaleError, status int, more string) {
	if stale.Seen != 0 {
		w.Header().Set(TokenHeader, strconv.FormatInt(stale.Seen, 10))
	}
	http.Error(w, stale.Error()+more, status)
}

// body is a request's body that ends when a newer token was accepted.
type body struct {
	io.ReadCloser
	request *request
}

func (b *body) Read(p []byte) (int, error) {
	if stale := b.request.stale(); stale != nil {
		return 0, stale
	}
	n, err := b.ReadCloser.Read(p)
	if stale := b.request.stale(); err != nil && err != io.EOF && stale != nil {
		err = stale
	}
	return n, err
}

// responseWriter is a ResponseWriter that records whether it was used. For a handler that sets no status
// net/http says 200, which must not happen to a request that a newer one ended. An
// http.ResponseController finds what else the ResponseWriter can do.
type responseWriter struct {
	http.ResponseWriter
	request *request
}

func (rw *responseWriter) WriteHeader(status int) {
	if status >= 200 || status == http.StatusSwitchingProtocols {
		rw.started()
	}
	rw.ResponseWriter.WriteHeader(status)
}

func (rw *responseWriter) Write(p []byte) (int, error) {
	rw.started()
	return rw.ResponseWriter.Write(p)
}

// Flush implements http.Flusher.
func (rw *responseWriter) Flush() {
	rw.started()
	_ = http.NewResponseController(rw.ResponseWriter).Flush() // a Flusher has no error
}

// Hijack implements http.Hijacker. From then on the connection is next's, which answers on it.
func (rw *responseWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buf, err := http.NewResponseController(rw.ResponseWriter).Hijack()
	if err == nil {
		rw.request.startAnswer()
	}
	return conn, buf, err
}

// Unwrap is for http.ResponseController.
func (rw *responseWriter) Unwrap() http.ResponseWriter { return rw.ResponseWriter }

func (rw *responseWriter) started() {
	if rw.request.startAnswer() {
		rw.Header().Set("Connection", "close")
	}
}

package fence

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"

	"github.com/etcdkit/etcdkit/internal/quote"
)

// Options of Handler. nil and the zero value are the defaults.
type Options struct {
	// Name tells which lock protects what a request is about. The same thing must always have the
	// same name: beware of paths that can be written in two ways. Default "default" for all.
	Name func(*http.Request) string
	// Required tells which requests need a token. The others pass without, but a token that they
	// have is checked. Default all but GET, HEAD, OPTIONS and TRACE.
	Required func(*http.Request) bool
	// Store remembers the tokens. Default a Memory of the handler's own.
	Store Store
	// Logger gets one line for each request that is refused because Store fails. nil is silent.
	Logger *slog.Logger
}

// Handler passes to next the requests whose TokenHeader is not older than any accepted before for
// their lock's name. The others are answered, with a line of text that says what to do:
//
//   - 412 Precondition Failed: stale. Nothing was done. (Not 409: the token is a condition in the
//     request's header, and it does not hold.)
//   - 400 Bad Request: no token where one is required, or something else than one.
//   - 409 Conflict: a newer token was accepted while next served this one, and next returned
//     without an answer. What was done is for next to tell; it comes before what the newer one does.
//   - 503 Service Unavailable: the Store fails, or the request ended while it waited. Nothing was done.
//
// 412 and 409 name the newer token in TokenHeader.
//
// Accepted means that next serves a request with nothing older beside or after it. A request with
// a newer token is remembered at once, so that nothing older is accepted any longer; the older
// ones that are being served are told (their context ends with the ErrStale as its Cause, and so
// does the reading of their body, also of one whose sender stands still); and it waits until next
// has returned from them, for as long as its own context lives. So a next that does not heed its
// context holds up newer holders, and must not go on with its work after it returned (put
// http.TimeoutHandler around this one, not inside). Requests with the same token are served side
// by side.
//
// This holds in one Handler. Several that store in one place know nothing of the requests that the
// others are serving, even if they share a Store: check there, as Table.Check does.
func Handler(next http.Handler, opts *Options) http.Handler {
	h := &handler{next: next, turns: turns{of: make(map[string]map[*turn]bool)}}
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

// writes: all methods but the safe ones (RFC 9110, 9.2.1).
func writes(r *http.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return false
	}
	return true
}

type handler struct {
	next  http.Handler
	opts  Options
	turns turns
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
	// It is among the turns before it is checked: a newer one that is accepted after that finds it.
	t := newTurn(token, end, w, r)
	a := &answer{ResponseWriter: w, turn: t}
	h.turns.enter(name, t)
	defer h.turns.leave(name, t)
	err = h.opts.Store.Check(ctx, name, token)
	if err == nil {
		err = h.turns.overtake(ctx, name, t)
	}
	if err != nil {
		h.refuse(ctx, a, r, name, err)
		return
	}
	r = r.WithContext(ctx)
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = &body{ReadCloser: r.Body, turn: t}
	}
	h.next.ServeHTTP(a, r)
	if stale := t.cutOff(); stale != nil {
		answerStale(a, stale, http.StatusConflict, " (The newer one came while this request was served: whether it was carried out is not known.)")
	}
}

// refuse answers a request that next has not seen.
func (h *handler) refuse(ctx context.Context, a *answer, r *http.Request, name string, err error) {
	stale, ok := errors.AsType[*StaleError](err)
	if !ok {
		stale = a.turn.stale() // which ended the context, so that the Store failed
	}
	switch {
	case stale != nil:
		answerStale(a, stale, http.StatusPreconditionFailed, "")
	case errors.Is(err, errWaited):
		http.Error(a, err.Error(), http.StatusServiceUnavailable)
	default: // the cause is not for clients
		h.opts.Logger.ErrorContext(ctx, "fence: a request is refused, as its token cannot be checked", "lock", quote.Word(name), "method", quote.Word(r.Method), "path", quote.Word(r.URL.Path), "error", err)
		http.Error(a, fmt.Sprintf("fence: the token of lock %s cannot be checked now: try again; the server's log has the cause", quote.Text(name)), http.StatusServiceUnavailable)
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
	turn *turn
}

func (b *body) Read(p []byte) (int, error) {
	if stale := b.turn.stale(); stale != nil {
		return 0, stale
	}
	n, err := b.ReadCloser.Read(p)
	if stale := b.turn.stale(); err != nil && err != io.EOF && stale != nil {
		err = stale
	}
	return n, err
}

// answer is a ResponseWriter that knows whether it was used: without a status net/http says 200,
// which must not happen to a request that was cut off. What else the ResponseWriter can do, an
// http.ResponseController finds.
type answer struct {
	http.ResponseWriter
	turn *turn
}

func (a *answer) WriteHeader(status int) {
	if status >= 200 || status == http.StatusSwitchingProtocols {
		a.begin()
	}
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) Write(p []byte) (int, error) {
	a.begin()
	return a.ResponseWriter.Write(p)
}

// Flush is for those who ask for an http.Flusher.
func (a *answer) Flush() {
	a.begin()
	_ = http.NewResponseController(a.ResponseWriter).Flush() // a Flusher has no error
}

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func (a *answer) begin() {
	if a.turn.answer() {
		a.Header().Set("Connection", "close")
	}
}

package httptransport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/etcdkit/etcdkit/discovery"
	"github.com/etcdkit/etcdkit/discovery/internal/explain"
	"github.com/etcdkit/etcdkit/internal/quote"
)

// errSilent is why a try was given up: see Options.AnswerTimeout.
var errSilent = errors.New("no answer")

// errNoAddr: the value in etcd has no known format, or no address.
var errNoAddr = errors.New("it is registered without an address")

// try is a request at one instance.
type try struct {
	request  *request
	instance *discovery.Instance
	began    time.Time
	release  context.CancelCauseFunc // of the context, if the try has its own

	resp         *http.Response
	err          error
	unsent       bool // it failed before anything was sent
	requestFault bool // it failed because of the request, not the instance
}

// send makes the try. If it fails, the try is over.
func (t *try) send() {
	t.began = time.Now()
	if t.instance.Addr == "" {
		t.err, t.unsent = errNoAddr, true
	} else {
		t.exchange()
	}
	if t.err != nil {
		t.end(t.err)
	}
}

// exchange asks the instance.
func (t *try) exchange() {
	r := t.request
	var asked, got atomic.Bool // net/http has asked for a connection, and has one
	ctx, idle := r.Context(), (*idleTimer)(nil)
	if limit := t.answerTimeout(); limit > 0 && r.retryable() {
		ctx, t.release = context.WithCancelCause(ctx)
		idle = newIdleTimer(limit, func() { t.release(fmt.Errorf("%w for %v", errSilent, limit)) })
	}
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn:      func(string) { asked.Store(true) },
		GotConn:      func(httptrace.GotConnInfo) { got.Store(true) },
		WroteRequest: func(httptrace.WroteRequestInfo) { idle.renew() },
	})
	out := r.WithContext(ctx) // a copy
	u := *r.URL
	u.Host = t.instance.Addr
	out.URL = &u
	if out.Host == "" {
		out.Host = r.service.name
	}
	if r.body != nil {
		r.body.beginTry(idle.renew)
		out.Body = r.body
	}
	t.resp, t.err = r.service.to(t.instance.Addr).RoundTrip(out)
	if idle.stop() {
		if t.err == nil {
			t.resp.Body.Close()
		}
		t.resp, t.err = nil, context.Cause(ctx)
	}
	if t.err == nil {
		r.body.keep()
		return
	}
	var dial *net.OpError
	t.unsent = asked.Load() && !got.Load() || errors.As(t.err, &dial) && dial.Op == "dial"
	t.requestFault = r.transport.template != nil && !asked.Load() || r.body.failed()
}

// answerTimeout is for how long nothing may happen; 0: for as long as the request lives.
func (t *try) answerTimeout() time.Duration {
	limit := t.request.transport.opts.AnswerTimeout
	if !t.request.service.view.Failing(t.instance) {
		return limit
	}
	if deadline, ok := t.request.Context().Deadline(); ok { // it may hang, and there are others
		if half := max(time.Until(deadline)/2, time.Nanosecond); limit <= 0 || half < limit {
			limit = half
		}
	}
	return limit
}

// answer returns the response for the caller. The try ends with its body.
func (t *try) answer() *http.Response {
	resp := t.resp
	resp.Request = t.request.Request
	if resp.Body == nil || resp.Body == http.NoBody {
		t.end(nil)
		return resp
	}
	a := &answer{ReadCloser: resp.Body, try: t}
	resp.Body = a
	if w, ok := a.ReadCloser.(io.ReadWriteCloser); ok { // 101 Switching Protocols
		resp.Body = &duplex{a, w}
	}
	return resp
}

// abandon ends a try whose answer is not used. It reads the rest of the answer if that is short and
// comes soon, so that the connection can be used again.
func (t *try) abandon() {
	const (
		most = 64 << 10
		soon = 50 * time.Millisecond
	)
	late := time.AfterFunc(soon, func() { t.resp.Body.Close() })
	_, _ = io.CopyN(io.Discard, t.resp.Body, most) // its error does not matter
	late.Stop()
	t.resp.Body.Close()
	t.end(nil)
}

// end reports the result to the view, once for each pick, and releases the context.
func (t *try) end(err error) {
	switch {
	case err == nil && t.resp != nil && unavailable(t.resp):
		err = &discovery.RefusedError{Err: errors.New("it answered " + answered(t.resp)), After: retryAfter(t.resp.Header)}
	case err != nil && !t.instanceFailed():
		err = explain.ErrUnused
	}
	t.request.service.view.Report(t.instance, err)
	if t.release != nil {
		t.release(nil)
	}
}

// instanceFailed reports whether a try failed because of the instance. The caller's deadline counts if
// more than half of the request's time was spent in this try.
func (t *try) instanceFailed() bool {
	ended := t.request.ended()
	switch {
	case t.requestFault:
		return false
	case ended == nil:
		return true
	case errors.Is(ended, context.DeadlineExceeded):
		return t.resp == nil && 2*time.Since(t.began) > time.Since(t.request.began)
	}
	return false
}

func (t *try) String() string {
	what := "it answered "
	if t.err != nil {
		what = quote.Line(t.err.Error(), maxCause)
	} else {
		what += answered(t.resp)
	}
	at := ""
	if t.instance.Addr != "" {
		at = quote.Word(t.instance.Addr)
	}
	return fmt.Sprintf("instance %s (%s): %s", quote.Word(t.instance.ID), at, what)
}

// answered returns an answer's status, in net/http's words.
func answered(resp *http.Response) string {
	return fmt.Sprint(resp.StatusCode, " ", http.StatusText(resp.StatusCode))
}

// retryAfter returns for how long an instance asks for no requests; 0: it did not say. A date is
// compared with the instance's own clock.
func retryAfter(h http.Header) time.Duration {
	value := h.Get("Retry-After")
	if n, err := strconv.ParseUint(value, 10, 16); err == nil {
		return time.Duration(n) * time.Second
	}
	at, err := http.ParseTime(value)
	now, errNow := http.ParseTime(h.Get("Date"))
	if err != nil || errNow != nil {
		return 0
	}
	return max(at.Sub(now), 0)
}

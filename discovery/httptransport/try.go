package httptransport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	"github.com/etcdkit/etcdkit/discovery"
)

// errSilent is why a try was given up after Options.Patience.
var errSilent = errors.New("no answer within Options.Patience")

// errNoAddr: the value in etcd is in no format that is known, or has no address.
var errNoAddr = errors.New("it is registered without an address")

// try is a request at one instance.
type try struct {
	r        *request
	instance *discovery.Instance
	picked   bool // by the view, which perhaps counts it as pending
	began    time.Time
	release  context.CancelCauseFunc // of the context, if it is one of its own

	resp   *http.Response
	err    error
	unsent bool // it failed before anything was sent
	ours   bool // it failed by the request, not by the instance
}

// send makes the try. One that failed ends with it.
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
	r := t.r
	var asked, got atomic.Bool // net/http has turned to the instance, and has a connection
	ctx, patience := r.Context(), (*patience)(nil)
	if r.t.opts.Patience > 0 && r.movable() {
		ctx, t.release = context.WithCancelCause(ctx)
		patience = newPatience(r.t.opts.Patience, func() { t.release(errSilent) })
	}
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn:      func(string) { asked.Store(true) },
		GotConn:      func(httptrace.GotConnInfo) { got.Store(true) },
		WroteRequest: func(httptrace.WroteRequestInfo) { patience.renew() },
	})
	out := r.WithContext(ctx) // a copy
	u := *r.URL
	u.Host = t.instance.Addr
	out.URL = &u
	if out.Host == "" {
		out.Host = r.s.name
	}
	if r.body != nil {
		r.body.hold(patience.renew)
		out.Body = r.body
	}
	t.resp, t.err = r.s.to(t.instance.Addr).RoundTrip(out)
	if patience.end() {
		if t.err == nil {
			t.resp.Body.Close()
		}
		t.resp, t.err = nil, errSilent
	}
	if t.err == nil {
		r.body.pass()
		return
	}
	var dial *net.OpError
	t.unsent = asked.Load() && !got.Load() || errors.As(t.err, &dial) && dial.Op == "dial"
	t.ours = r.t.pattern != nil && !asked.Load() || r.body.failed()
}

// answer makes the response the caller's. The try ends with its body.
func (t *try) answer() *http.Response {
	resp := t.resp
	resp.Request = t.r.Request
	if resp.Body == nil || resp.Body == http.NoBody {
		t.end(nil)
		return resp
	}
	a := &answer{ReadCloser: resp.Body, t: t}
	resp.Body = a
	if w, ok := a.ReadCloser.(io.ReadWriteCloser); ok { // 101 Switching Protocols
		resp.Body = &duplex{a, w}
	}
	return resp
}

// abandon ends a try whose answer is not wanted. What is left of it is read, if it is little and
// comes at once, so that the connection can be used again.
func (t *try) abandon() {
	const (
		little = 64 << 10
		atOnce = 50 * time.Millisecond
	)
	late := time.AfterFunc(atOnce, func() { t.resp.Body.Close() })
	_, _ = io.CopyN(io.Discard, t.resp.Body, little) // only for the connection's sake
	late.Stop()
	t.resp.Body.Close()
	t.end(nil)
}

// end tells the view how the instance fared, once for each Pick, and lets go of what the try held.
func (t *try) end(err error) {
	if err != nil && !t.guilty() {
		err = context.Canceled
	}
	if t.picked || t.r.t.opts.Discovery.Policy != discovery.LeastPending {
		t.r.s.view.Report(t.instance, err)
	}
	if t.release != nil {
		t.release(nil)
	}
}

// guilty tells whether it is the instance's fault that a try failed. A deadline of the caller's is
// if most of the time that the caller gave was spent waiting there.
func (t *try) guilty() bool {
	ended := t.r.ended()
	switch {
	case t.ours:
		return false
	case ended == nil:
		return true
	case errors.Is(ended, context.DeadlineExceeded):
		return t.resp == nil && 2*time.Since(t.began) > time.Since(t.r.began)
	}
	return false
}

func (t *try) String() string {
	what := fmt.Sprint(t.err)
	if t.err == nil {
		what = "it answered " + t.resp.Status
	}
	return fmt.Sprintf("instance %s (%s): %s", t.instance.ID, t.instance.Addr, what)
}

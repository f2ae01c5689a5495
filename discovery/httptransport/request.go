package httptransport

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/etcdkit/etcdkit/discovery"
	"github.com/etcdkit/etcdkit/discovery/internal/explain"
	"github.com/etcdkit/etcdkit/internal/errtext"
)

// request is a request on its way, perhaps to several instances. The caller's request is not changed.
type request struct {
	*http.Request
	transport *Transport
	service   *service
	body      *body // nil: it has none
	began     time.Time
	tries     []*try
}

func newRequest(t *Transport, req *http.Request) *request {
	r := &request{Request: req, transport: t, began: time.Now()}
	if req.Body != nil && req.Body != http.NoBody {
		r.body = &body{from: req.Body}
	}
	return r
}

// run sends the request until it is answered, or may not be sent again.
func (r *request) run() (*http.Response, error) {
	name, err := serviceOf(r.URL)
	if err != nil {
		return nil, err
	}
	if r.service, err = r.transport.open(r.Context(), name); err != nil {
		return nil, err
	}
	i, err := r.service.view.Pick()
	if err != nil {
		return nil, r.noInstance(err)
	}
	for t := (&try{request: r, instance: i}); ; {
		r.tries = append(r.tries, t)
		t.send()
		if t.err == nil && !unavailable(t.resp) {
			return t.answer(), nil
		}
		next, why := r.next(t)
		switch {
		case next == nil && t.err == nil:
			return t.answer(), nil // it is not sent again
		case next == nil:
			return nil, r.failure(why)
		case t.err == nil:
			t.abandon()
		}
		r.transport.retries.Add(1)
		t = next
	}
}

// unavailable reports whether an answer is about the instance, or a proxy before it, rather than
// about the request.
func unavailable(resp *http.Response) bool {
	switch resp.StatusCode {
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// next is the try after one that failed, or why there is none.
func (r *request) next(failed *try) (next *try, why error) {
	switch err := r.ended(); {
	case err != nil:
		return nil, err
	case failed.requestFault:
		return nil, nil // the fault is in the request itself, as the cause says
	case len(r.tries) >= r.transport.opts.Attempts:
		return nil, nil
	case !failed.unsent && !r.repeatable():
		return nil, fmt.Errorf("not sent again, as a %s may have arrived", r.Method)
	case !r.body.unchanged(failed) && r.GetBody == nil:
		return nil, errors.New("not sent again, as its body cannot be read twice without GetBody")
	}
	if next = r.another(); next == nil {
		return nil, errors.New("there is no other instance")
	}
	if !r.body.unchanged(failed) {
		from, err := r.GetBody()
		if err != nil {
			next.end(explain.ErrUnused)
			return nil, errtext.Errorf("GetBody: %w", err)
		}
		r.body.finish()
		r.body = &body{from: from}
	}
	return next, nil
}

// ended is the error of a request that must not be sent any more.
func (r *request) ended() error {
	if err := r.Context().Err(); err != nil {
		return err
	}
	select {
	// http.Client.Timeout closes it, in addition to the context's deadline.
	case <-r.Cancel:
		if d, ok := r.Context().Deadline(); ok && !time.Now().Before(d) {
			return context.DeadlineExceeded
		}
		return context.Canceled
	default:
		return nil
	}
}

// repeatable reports whether the request may arrive twice. Headers count as in net/http: the key must be
// set, its value does not matter.
func (r *request) repeatable() bool {
	switch r.Method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPut, http.MethodDelete:
		return true
	}
	_, key := r.Header["Idempotency-Key"]
	_, xkey := r.Header["X-Idempotency-Key"]
	return key || xkey
}

// retryable reports whether the request may go to another instance after it was sent to one.
func (r *request) retryable() bool {
	return r.repeatable() && (r.body == nil || r.GetBody != nil) && len(r.tries) < r.transport.opts.Attempts && slices.ContainsFunc(r.service.view.Instances(), r.untried)
}

// another picks an instance that takes requests and was not tried; nil: there is none.
func (r *request) another() *try {
	i, err := r.service.view.PickWhere(r.untried)
	if err != nil {
		return nil
	}
	return &try{request: r, instance: i}
}

// untried reports whether the request may be tried at an instance once more.
func (r *request) untried(i *discovery.Instance) bool {
	return i.TakesRequests() && !slices.ContainsFunc(r.tries, func(t *try) bool { return t.instance.ID == i.ID && t.instance.Addr == i.Addr })
}

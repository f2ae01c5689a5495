package fence

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/etcdkit/etcdkit/internal/errtext"
	"github.com/etcdkit/etcdkit/internal/quote"
)

// errWaited: a request ended while it waited for an older one.
var errWaited = errors.New("fence: an older request is still being served")

// requests are those with tokens that a Handler is checking, keeps waiting, or is serving.
type requests struct {
	mu     sync.Mutex
	byName map[string]map[*request]bool // by the lock's name
}

// request is one of them.
type request struct {
	token int64
	end   context.CancelCauseFunc // of its context
	done  chan struct{}           // closed when it has ended
	w     http.ResponseWriter
	http1 bool

	mu       sync.Mutex
	answered bool
	newer    *StaleError // a newer token was accepted
}

func newRequest(token int64, end context.CancelCauseFunc, w http.ResponseWriter, r *http.Request) *request {
	return &request{token: token, end: end, done: make(chan struct{}), w: w, http1: r.ProtoMajor < 2}
}

func (rs *requests) add(name string, r *request) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if rs.byName[name] == nil {
		rs.byName[name] = make(map[*request]bool)
	}
	rs.byName[name][r] = true
}

// endOlder ends the requests that are older than r, whose token was accepted, and waits for their end.
// An older request that is added from now on is stale, as its check comes later.
func (rs *requests) endOlder(ctx context.Context, name string, r *request) error {
	var older []*request
	rs.mu.Lock()
	for o := range rs.byName[name] {
		if o.token < r.token {
			o.markStale(&StaleError{Name: name, Token: o.token, Seen: r.token})
			older = append(older, o)
		}
	}
	rs.mu.Unlock()
	for _, o := range older {
		select {
		case <-o.done:
		case <-ctx.Done():
			return errtext.Errorf("%w: lock %s: token %d waited for %d: %w", errWaited, quote.Text(name), r.token, o.token, context.Cause(ctx))
		}
	}
	if stale := r.stale(); stale != nil { // a newer holder came meanwhile, and waits for this request
		return stale
	}
	return nil
}

func (rs *requests) remove(name string, r *request) {
	rs.mu.Lock()
	delete(rs.byName[name], r)
	if len(rs.byName[name]) == 0 {
		delete(rs.byName, name)
	}
	rs.mu.Unlock()
	close(r.done)
}

// markStale ends a request, as a newer token was accepted. It is called only before remove, so its
// ResponseWriter may be used.
func (r *request) markStale(stale *StaleError) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.newer != nil {
		return
	}
	r.newer = stale
	r.end(stale)
	// A sender that is paused in the middle of the body must not hold up the newer request. On an
	// HTTP/1 connection net/http itself reads when the body is over, and would take this deadline for the
	// end of the connection. So that connection must not be used again, which only the header of the
	// answer can say.
	if !r.http1 || !r.answered {
		_ = http.NewResponseController(r.w).SetReadDeadline(time.Unix(1, 0)) // there may be nothing to read from, as in a test
	}
}

// startAnswer records that the answer begins, and tells whether its connection must not be used again.
func (r *request) startAnswer() (closing bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	first := !r.answered
	r.answered = true
	return first && r.newer != nil && r.http1
}

// stale is nil until a newer token was accepted.
func (r *request) stale() *StaleError {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.newer
}

// staleUnanswered is stale, but nil for a request that was answered.
func (r *request) staleUnanswered() *StaleError {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.answered {
		return nil
	}
	return r.newer
}

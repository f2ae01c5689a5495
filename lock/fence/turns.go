package fence

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/etcdkit/etcdkit/internal/quote"
)

// errWaited: a request ended while it waited for an older one.
var errWaited = errors.New("fence: an older request is still being served")

// turns are the requests that a Handler is checking, keeps waiting, or is serving.
type turns struct {
	mu sync.Mutex
	of map[string]map[*turn]bool // by the lock's name
}

// turn is one of them.
type turn struct {
	token int64
	end   context.CancelCauseFunc // of its context
	left  chan struct{}           // closed when it is over
	w     http.ResponseWriter
	http1 bool

	mu       sync.Mutex
	answered bool
	late     *StaleError // a newer one was accepted
}

func newTurn(token int64, end context.CancelCauseFunc, w http.ResponseWriter, r *http.Request) *turn {
	return &turn{token: token, end: end, left: make(chan struct{}), w: w, http1: r.ProtoMajor < 2}
}

func (ts *turns) enter(name string, t *turn) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.of[name] == nil {
		ts.of[name] = make(map[*turn]bool)
	}
	ts.of[name][t] = true
}

// overtake ends what is older than t, whose token was accepted, and waits for its end. What is older
// and enters from now on is stale, as its check comes later.
func (ts *turns) overtake(ctx context.Context, name string, t *turn) error {
	var older []*turn
	ts.mu.Lock()
	for o := range ts.of[name] {
		if o.token < t.token {
			o.expire(&StaleError{Name: name, Token: o.token, Seen: t.token})
			older = append(older, o)
		}
	}
	ts.mu.Unlock()
	for _, o := range older {
		select {
		case <-o.left:
		case <-ctx.Done():
			return fmt.Errorf("%w: lock %s: token %d waited for %d: %w", errWaited, quote.Text(name), t.token, o.token, context.Cause(ctx))
		}
	}
	if stale := t.stale(); stale != nil { // a newer holder came meanwhile, and waits for this one
		return stale
	}
	return nil
}

func (ts *turns) leave(name string, t *turn) {
	ts.mu.Lock()
	delete(ts.of[name], t)
	if len(ts.of[name]) == 0 {
		delete(ts.of, name)
	}
	ts.mu.Unlock()
	close(t.left)
}

// expire tells a request that it is late. It is called before leave only, so its ResponseWriter may
// be used.
func (t *turn) expire(stale *StaleError) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.late != nil {
		return
	}
	t.late = stale
	t.end(stale)
	// A sender that stands still in the middle of the body must not hold up the newer one. On an
	// HTTP/1 connection net/http itself reads when the body is over, and takes this for the
	// connection's end: so it must not be used again, which only the answer's header can say.
	if !t.http1 || !t.answered {
		_ = http.NewResponseController(t.w).SetReadDeadline(time.Unix(1, 0)) // there may be nothing to read from, as in a test
	}
}

// answer notes that the answer begins, and tells whether its connection must not be used again.
func (t *turn) answer() (closing bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	first := !t.answered
	t.answered = true
	return first && t.late != nil && t.http1
}

// stale is nil until a newer one was accepted.
func (t *turn) stale() *StaleError {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.late
}

// cutOff is stale of a request that has no answer.
func (t *turn) cutOff() *StaleError {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.answered {
		return nil
	}
	return t.late
}

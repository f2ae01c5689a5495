package lease

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/etcdkit/etcdkit/internal/ask"
)

// keepAliveStream is an open stream over one route, with no keepalive in flight.
type keepAliveStream struct {
	stream
	route  string
	cancel context.CancelFunc
}

func (s *keepAliveStream) cancelAndClose() {
	s.cancel()
	s.close()
}

// answer is an answered keepalive, and the stream it came over.
type answer struct {
	sent   time.Duration
	ttl    time.Duration
	stream *keepAliveStream
}

// renewal keeps a lease alive. A round is a keepalive that is repeated on other routes until
// one is answered. It begins on the client's own connection, then takes the stream that answered
// the last round, then the other endpoints: so the connections of a bad time are closed after
// it, and a member that stays silent costs one patience, never the lease.
type renewal struct {
	*Lease

	mu    sync.Mutex
	kept  *keepAliveStream // what answered the last round, unless a try has it
	stale int              // denials because of a token, in a row
}

// renewPatience bounds how long one silent member may hold up a keepalive, whatever the TTL:
// a caller may wait in Confirm.
const renewPatience = time.Second

// renew ends with the lease.
func (l *Lease) renew(life context.Context) {
	r := &renewal{Lease: l}
	defer func() { r.keep(nil) }()
	t := time.NewTimer(0)
	defer t.Stop()
	for l.Err() == nil {
		since := l.keeper.clock() - time.Duration(l.confirmed.Load())
		t.Reset(max(l.interval()-since, 0))
		select {
		case <-t.C:
		case <-l.renewNow:
		case <-life.Done():
			return
		}
		a, err := r.round(life)
		if life.Err() != nil {
			if err == nil {
				a.stream.cancelAndClose()
			}
			return
		}
		denied, _ := denial(err)
		switch {
		case errors.Is(err, ask.ErrClosed):
			l.endWithClient()
		case denied:
			l.end(ended(l.id, ErrUnauthorised, "", err))
		case err != nil:
			l.failed(err) // the next round asks again, until the deadline
		case a.ttl > 0:
			r.keep(a.stream)
			l.answered(a.sent, a.ttl)
		default:
			a.stream.cancelAndClose()
			if l.Err() == nil {
				l.end(ended(l.id, ErrRevoked, "is gone before its deadline", nil))
			}
		}
	}
}

func (r *renewal) round(ctx context.Context) (answer, error) {
	t := tries[answer]{
		etcd:     r.keeper.etcd,
		routes:   r.routes(),
		patience: min(r.patience(), renewPatience),
		most:     r.patience(),
		maxPause: r.patience(),
		try:      r.try,
		failed: func(err error) bool {
			r.keeper.counts.retries.Add(1)
			r.failed(err)
			denied, stale := denial(err)
			if !stale {
				r.stale = 0
				return denied
			}
			r.stale++
			return r.stale >= staleTokens
		},
		drop: func(a answer) { a.stream.cancelAndClose() },
	}
	a, err := t.run(ctx)
	if err == nil {
		r.stale = 0
	}
	return a, err
}

func (r *renewal) routes() []string {
	routes := r.keeper.routes()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.kept == nil || r.kept.route == ownConnection {
		return routes
	}
	for i, route := range routes {
		if route == r.kept.route {
			routes[1], routes[i] = routes[i], routes[1]
		}
	}
	return routes
}

// take hands the kept stream to a try, if it is this route's.
func (r *renewal) take(route string) *keepAliveStream {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.kept == nil || r.kept.route != route {
		return nil
	}
	taken := r.kept
	r.kept = nil
	return taken
}

// keep keeps a stream for the next round, instead of the one from before.
func (r *renewal) keep(s *keepAliveStream) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.kept != nil {
		r.kept.cancelAndClose()
	}
	r.kept = s
}

// try sends a keepalive once. A stream that was kept may have broken since; that is worth
// another one on the same route before it counts as a failure.
func (r *renewal) try(ctx context.Context, route string) (answer, error) {
	if s := r.take(route); s != nil {
		a, err := r.tryOn(ctx, s)
		if denied, stale := denial(err); err == nil || ctx.Err() != nil || denied && !stale {
			return a, err
		}
	}
	life, cancel := context.WithCancel(context.Background())
	stop := context.AfterFunc(ctx, cancel)
	s, err := r.keeper.etcd.open(life, route)
	stop()
	if err != nil {
		cancel()
		return answer{}, err
	}
	return r.tryOn(ctx, &keepAliveStream{s, route, cancel})
}

// tryOn ends with ctx; the stream stays open only if it answered.
func (r *renewal) tryOn(ctx context.Context, s *keepAliveStream) (answer, error) {
	stop := context.AfterFunc(ctx, s.cancel)
	sent := r.keeper.clock()
	ttl, err := s.keepAlive(r.id)
	if !stop() && err == nil {
		err = errors.New("cut off") // by ctx, and the stream with it
	}
	if err != nil {
		s.cancelAndClose()
		return answer{}, err
	}
	return answer{sent, seconds(ttl), s}, nil
}

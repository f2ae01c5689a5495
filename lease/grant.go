package lease

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/ask"
	"github.com/etcdkit/etcdkit/internal/errtext"
)

const (
	// grantPatience is how long one silent member may hold up a grant, whatever the TTL: two of them,
	// since the first other endpoint can be the silent member again, leave time for the call to
	// end within 3 s.
	grantPatience = 500 * time.Millisecond
	// maxGrantPause bounds the pauses between rounds of failing grants.
	maxGrantPause = 5 * time.Second
)

// granting is the making of one lease, however many tries it takes and callers wait for it.
type granting struct {
	k      *Keeper
	giveUp context.CancelFunc // the last waiter went, or the Keeper closes
	done   chan struct{}
	err    error // set before done is closed; nil also when given up: callers that still wait start again

	waiters int // guarded by k.mu

	mu       sync.Mutex
	id       clientv3.LeaseID // asked for
	since    time.Duration    // since when
	tries    int              // with this id
	sent     bool             // a member may have received one of them
	unwanted []clientv3.LeaseID
	cause    error

	stale int // denials because of a token, in a row; run's
}

func (g *granting) lastCause() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.cause
}

// granted is an answered grant.
type granted struct {
	id   clientv3.LeaseID
	sent time.Duration // when the lease was asked for, at the latest
	ttl  time.Duration
}

// run ends when a lease was granted, the user is refused, or giveUp was called.
func (g *granting) run(ctx context.Context) {
	defer g.giveUp()
	k := g.k
	t := tries[granted]{
		etcd:     k.etcd,
		routes:   k.routes(),
		patience: min(k.opts.TTL/9, grantPatience),
		most:     maxGrantPause,
		maxPause: min(maxGrantPause, k.opts.TTL/4), // so that a short lease is back within its TTL
		try:      g.try,
		failed:   g.failed,
	}
	won, err := t.run(ctx)
	if ctx.Err() != nil { // no caller waits for it any longer
		err = ctx.Err()
	}
	switch {
	case err == nil:
		g.unwanted = slices.DeleteFunc(g.unwanted, func(id clientv3.LeaseID) bool { return id == won.id })
		l := newLease(k, won)
		k.warned.Store(false)
		if k.add(l) {
			k.counts.granted.Add(1)
			k.log.Info("lease granted", "lease", l.hex(), "ttl", won.ttl)
		} else {
			g.unwanted = append(g.unwanted, won.id)
		}
	case g.sent:
		g.unwanted = append(g.unwanted, g.id) // the next answer might have said that it was granted
	}
	if errors.Is(err, ask.ErrClosed) {
		g.err, g.unwanted = clientClosed(), nil
	}
	if denied, _ := denial(err); denied {
		g.err = errtext.Errorf("%w: grant: %w", ErrUnauthorised, err)
		g.unwanted = nil // nothing was granted, and revoking would be refused
	}
	k.mu.Lock()
	k.granting = nil
	if err == nil { // so etcd can be reached
		g.unwanted, k.lost = append(g.unwanted, k.lost...), nil
	}
	k.mu.Unlock()
	close(g.done)
	g.revokeUnwanted()
}

// try asks for a lease once. The id is chosen here and not by etcd, so that a try after one without an
// answer asks for the same lease: it can't leave a second one behind that lives for a TTL.
func (g *granting) try(ctx context.Context, route string) (granted, error) {
	k := g.k
	ctx, cancel := context.WithTimeout(ctx, min(max(k.opts.TTL, maxGrantPause), 2*maxGrantPause))
	defer cancel()
	g.mu.Lock()
	if g.tries == 0 {
		g.id, g.since, g.sent = ask.NewLeaseID(), k.clock(), false
	}
	g.tries++
	wanted := granted{g.id, k.clock(), k.opts.TTL}
	g.mu.Unlock()

	ttl, sent, err := k.etcd.grant(ctx, route, wanted.id, int64(k.opts.TTL/time.Second))
	g.mu.Lock()
	g.sent = g.sent || sent && g.id == wanted.id
	g.mu.Unlock()
	if errors.Is(err, rpctypes.ErrLeaseExist) {
		return g.exists(wanted, err)
	}
	if err != nil {
		return granted{}, err
	}
	wanted.ttl = seconds(ttl)
	return wanted, nil
}

// exists takes over a lease that an earlier try was granted. It counts from when its id was
// first sent, which is the latest that is certain; if little is left of it, or no try of this grant has
// sent the id before, the next try has another.
func (g *granting) exists(wanted granted, err error) (granted, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.id != wanted.id {
		return granted{}, err // another try found out
	}
	if wanted.sent = g.since; g.tries > 1 && g.k.clock()-g.since < wanted.ttl/2 {
		return wanted, nil
	}
	if g.tries > 1 {
		g.unwanted = append(g.unwanted, g.id)
	}
	g.tries = 0
	return granted{}, err
}

// failed records why a try failed, or is silent. It tells whether that is final.
func (g *granting) failed(err error) bool {
	g.mu.Lock()
	g.cause = err
	g.mu.Unlock()
	if !g.k.warned.Swap(true) {
		g.k.log.Warn("lease not granted yet", "cause", err.Error())
	}
	denied, stale := denial(err)
	if !stale {
		g.stale = 0
		return denied
	}
	g.stale++
	return g.stale >= staleTokens
}

// revokeUnwanted revokes what etcd may have and nothing will use. What it does not reach expires.
func (g *granting) revokeUnwanted() {
	if len(g.unwanted) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(g.k.revoking, min(g.k.opts.TTL/2, revokeTimeout))
	defer cancel()
	for _, id := range g.unwanted {
		_ = g.k.revoke(ctx, id)
	}
}

// routes begins with the client's own connection; the endpoints follow in random order, so
// that a member's failure does not send all to the same other one.
func (k *Keeper) routes() []string {
	endpoints := k.etcd.endpoints()
	rand.Shuffle(len(endpoints), func(i, j int) { endpoints[i], endpoints[j] = endpoints[j], endpoints[i] })
	return append([]string{ownConnection}, endpoints...)
}

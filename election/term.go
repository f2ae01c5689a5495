package election

import (
	"context"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/queue"
)

// Term is the time for which this process is the leader. Its methods may be called from any
// goroutine.
type Term struct {
	e    *Election
	held *queue.Hold
}

// Token is the fencing token: larger than that of every term before. The receiver of what the
// leader writes should refuse a smaller one than it has seen.
func (t *Term) Token() int64 { return t.held.Token() }

// Name is the election's.
func (t *Term) Name() string { return t.e.name }

// Key is the key in etcd whose being there is the term.
func (t *Term) Key() string { return t.held.Key() }

// Guard is true in etcd as long as the term lasts: in a transaction's If it makes what stands in
// Then fenced, however late it arrives.
func (t *Term) Guard() clientv3.Cmp { return t.held.Guard() }

// Txn is a transaction that is guarded: its If is Guard and the given comparisons.
func (t *Term) Txn(ctx context.Context, also ...clientv3.Cmp) clientv3.Txn {
	return t.held.Txn(ctx, also...)
}

// Done is closed when the term is over: resigned, or lost; never later than etcd may elect another
// candidate, as long as this process runs and clocks tick alike.
func (t *Term) Done() <-chan struct{} { return t.held.Done() }

// Err is nil while the term lasts, then ErrResigned or ErrLost. It reads the clock.
func (t *Term) Err() error { return t.held.Err() }

// Deadline is until when the term lasts if nothing renews its lease from now on.
func (t *Term) Deadline() time.Time { return t.held.Deadline() }

// Proclaim changes the leader's value. The error is ErrLost, and nothing is changed, if this is the
// leader no longer; after another error the value may be either.
func (t *Term) Proclaim(ctx context.Context, value string) error {
	return t.e.ended("proclaim in", t.held.SetValue(ctx, value))
}

// Resign ends the term, and the next candidate is elected at once. It is idempotent. What is not
// answered before ctx ends, or in 10 s, goes on in the background, for as long as the lease lives.
// While etcd is away Resign takes that long: a process that is about to end gives it a ctx with a
// deadline. The error is ErrLost when the term was lost before.
func (t *Term) Resign(ctx context.Context) error {
	if !t.held.StartEnd() {
		return nil
	}
	_, err := t.held.Leave(ctx, nil, nil)
	return t.e.ended("resign from", err)
}

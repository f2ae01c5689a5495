package election

import (
	"context"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/queue"
)

// Term is the time for which this process is the leader. Its methods may be called from any
// goroutine, and are those of [github.com/etcdkit/etcdkit/lock.Hold] where they have the same names:
// read there what they guarantee.
type Term struct {
	e    *Election
	held *queue.Hold
}

// Token is the fencing token: larger than that of every earlier term of this name.
func (t *Term) Token() int64 { return t.held.Token() }

// Name is the name of the election.
func (t *Term) Name() string { return t.e.handle.Name }

// Key is the key in etcd: the term lasts as long as this key exists.
func (t *Term) Key() string { return t.held.Key() }

// Lease is the lease that the term ends with.
func (t *Term) Lease() clientv3.LeaseID { return t.held.Entry().Lease.ID() }

// Guard is a comparison that is true in etcd as long as the term lasts.
func (t *Term) Guard() clientv3.Cmp { return t.held.Guard() }

// Txn is a transaction whose If is Guard and the given comparisons.
func (t *Term) Txn(ctx context.Context, also ...clientv3.Cmp) clientv3.Txn {
	return t.held.Txn(ctx, also...)
}

// Done is closed when the term has ended, before etcd can elect another candidate.
func (t *Term) Done() <-chan struct{} { return t.held.Done() }

// Err is nil while the term lasts, then ErrResigned or ErrLost. It reads the clock.
func (t *Term) Err() error { return t.held.Err() }

// Deadline is when the term ends if nothing renews its lease from now on.
func (t *Term) Deadline() time.Time { return t.held.Deadline() }

// Proclaim changes the leader's value. The error is ErrLost, and nothing is changed, if this process is
// the leader no longer. After another error the value may be the old one or the new one.
func (t *Term) Proclaim(ctx context.Context, value string) error {
	return t.e.handle.Ended("proclaim in", t.held.SetValue(ctx, value))
}

// Resign ends the term, as Release of a Hold does: the next candidate is elected at once. The error is
// ErrLost if the term was lost before.
func (t *Term) Resign(ctx context.Context) error {
	if !t.held.ClaimEnd() {
		return nil
	}
	_, err := t.held.Leave(ctx, nil, nil)
	return t.e.handle.Ended("resign from", err)
}

package queue

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/ask"
	"github.com/etcdkit/etcdkit/internal/errtext"
	"github.com/etcdkit/etcdkit/lease"
)

var (
	// ErrLost: the entry is gone, or must be taken for gone, as its lease has ended.
	ErrLost = errors.New("entry lost")
	// ErrUnknown: whether operations were applied cannot be found out.
	ErrUnknown = errors.New("outcome unknown")
	// ErrClosed: the queue was closed.
	ErrClosed = errors.New("closed")
	// ErrClient: the etcd client was closed, which ends everything that uses it.
	ErrClient = ask.ErrClosed
)

// lostBy is ErrLost for a reason, which is all that its text says: the package above says what is lost.
func lostBy(why error) error { return errtext.New(errtext.Text(why), ErrLost, why) }

const (
	tryTimeout = 2 * time.Second // of one request; the next one goes to another member
	firstPause = 20 * time.Millisecond
	maxPause   = time.Second
)

// Queue is the queue of one name, as one handle of this process uses it. Its methods may be called from
// any goroutine.
type Queue struct {
	lifetime
	cli    *clientv3.Client
	client *client
	keeper *lease.Keeper // of the leases of all entries; it knows which keys are taken
	own    bool          // the Keeper is the queue's, and ends with it
	prefix string

	once     sync.Once // of Shutdown
	closeErr error     // what it returned

	running     workers      // goroutines that Close waits for
	removals    workers      // entries that are being removed; this outlives the queue where their leases do
	revocations workers      // leases of Grant that are being revoked
	answers     atomic.Int64 // of etcd, about what leaves

	used  atomic.Pointer[view] // nil: not used yet
	holds map[*Hold]struct{}   // guarded by its view's mu
}

// New returns a Queue of entries on the leases of a Keeper. Without one it has its own, with a TTL.
// It sends nothing.
func New(cli *clientv3.Client, name string, keeper *lease.Keeper, ttl time.Duration) *Queue {
	q := &Queue{
		cli: cli, client: clientOf(cli), keeper: keeper, own: keeper == nil, prefix: name + "/",
		holds: make(map[*Hold]struct{}),
	}
	q.lifetime.begin(cli)
	if q.own {
		q.keeper = lease.NewKeeper(cli, &lease.Options{TTL: ttl})
	}
	return q
}

// view returns the queue's view. The first call makes it.
func (q *Queue) view() *view {
	if v := q.used.Load(); v != nil {
		return v
	}
	return q.client.viewOf(q)
}

// lockView returns the queue's view, locked.
func (q *Queue) lockView() *view {
	v := q.view()
	v.mu.Lock()
	return v
}

// TryLease returns a live lease for an entry that must not wait; see lease.Keeper.TryLease.
func (q *Queue) TryLease(ctx context.Context) (*lease.Lease, error) { return q.keeper.TryLease(ctx) }

// Prepare makes an entry that is not in etcd yet.
func (q *Queue) Prepare(l *lease.Lease, kind Kind, value string, wanted []clientv3.Op) *Entry {
	e := &Entry{Lease: l, Kind: kind, Value: value, Wanted: wanted, woken: make(chan struct{}, 1)}
	q.claimKey(e)
	return e
}

// Go runs f in the background. Close waits for it.
func (q *Queue) Go(f func()) { q.running.start(f) }

// Deleted tells whether another client is known to have deleted an entry.
func (q *Queue) Deleted(e *Entry) bool {
	v := q.lockView()
	defer v.mu.Unlock()
	return e.deleted
}

// Where adds to an error of a call which endpoints were asked, and, while no member can be reached, why.
func Where(cli *clientv3.Client, err error) error {
	if named := (*ask.Unanswered)(nil); errors.As(err, &named) {
		return err // by the lease
	}
	if away := ask.Of(cli).Outage(); away != nil && !ask.IsAnswer(err) {
		return errtext.Errorf("%w (%w)", away, err)
	}
	return fmt.Errorf("%w (endpoints %q)", err, cli.Endpoints())
}

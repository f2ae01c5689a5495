// Package queue is the fair queue below locks and elections: the keys under a name, in the order
// in which they were created. Whose entry is the oldest has the turn.
//
// It is the layout of clientv3/concurrency and of "etcdctl lock", so all of them wait for one
// another on the same name. Unlike theirs, each acquisition has an entry of its own,
// NAME/LEASE-SLOT, so two goroutines on one lease exclude one another, too; an acquisition is
// known by its key and create revision, and by a nonce in the value where an answer got lost.
// Slots are small numbers that are used again: fresh names would stay in the server's index until
// the next compaction, and every read would walk them.
//
// Waiting costs no reads as a rule. Behind few others an entry listens to one watch on all
// deletions of the queue, which is kept open between acquisitions: the entries ahead were in the
// answer to its own transaction, and when all of them have been deleted it is its turn. Behind
// many it watches the one before it only, so that a turn wakes one waiter and not all. What the
// caller wants to read is watched, too: a transaction that writes it and ends the turn before tells
// of both. No watch begins at a past revision: the server would look at it every 100 ms only.
package queue

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/lease"
)

// ErrLost: the entry is gone, or must be taken for gone, as its lease has ended.
var ErrLost = errors.New("queue: entry lost")

const (
	// few is how many may be ahead of an entry that listens to the deletions of all. Beyond, each
	// deletion would wake too many for nothing.
	few = 2

	tryTimeout = 2 * time.Second // of one request; the next one goes to another member
	firstPause = 20 * time.Millisecond
	maxPause   = time.Second

	// lateness is how much later than its request a write may come whose answer was given up:
	// etcd itself gives up after 7 s.
	lateness = 10 * time.Second
)

// Entry is one place in the queue.
type Entry struct {
	Key      string
	Revision int64 // at which it was created: the fencing token; 0: not known to be there
	Lease    *lease.Lease
	Value    string // for people, and with a nonce, unless it is Unique: no other entry has it
	Kind     Kind

	Wanted []clientv3.Op           // reads of the caller's, to be made when its turn comes
	Reads  []*clientv3.GetResponse // their results

	moved chan struct{} // it is its turn, or it is gone

	// Guarded by Queue.mu.
	ahead map[string]int // the keys that come first and what they take, as of a revision
	taken int            // by all of them
	last  predecessor
	at    int64
	heard int64  // the last deletion of one ahead
	clash error  // ErrSize
	fresh bool   // Reads are of when nobody was ahead any more
	gone  bool   // somebody deleted it
	said  string // what its value is, as far as is known
	freed bool   // its key is another one's

	sent    bool      // a write of it is under way, or was: it may be there
	unheard time.Time // when one was given up that may still come
}

// predecessor is the entry just before another one.
type predecessor struct {
	key      string
	revision int64 // at which it was created: keys are used again
}

// Prepare makes an entry that is nowhere yet.
func (q *Queue) Prepare(l *lease.Lease, kind Kind, value string, wanted []clientv3.Op) *Entry {
	e := &Entry{Lease: l, Kind: kind, Value: value, Wanted: wanted, moved: make(chan struct{}, 1)}
	q.name(e)
	return e
}

// name gives the entry a key that nobody has who shares its lease.
func (q *Queue) name(e *Entry) {
	for slot := 0; ; slot++ {
		e.Key = e.Kind.key(q.prefix, int64(e.Lease.ID()), slot)
		if q.keeper.Claim(e.Key) {
			return
		}
	}
}

// retire is free for an entry that was deleted: a try of entering that was not answered, and was
// done again, may still come, and then it is to go as well.
func (q *Queue) retire(e *Entry) {
	if e.unheard.IsZero() || time.Since(e.unheard) > lateness {
		q.free(e)
		return
	}
	q.Remove(&Entry{Key: e.Key, Value: e.Value, Kind: e.Kind, Lease: e.Lease})
}

// free gives the key back, once the entry is not there and will not come.
func (q *Queue) free(e *Entry) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !e.freed {
		e.freed = true
		q.keeper.Unclaim(e.Key)
	}
}

// put are the operations that bring an entry to the end of the queue and tell who is ahead.
func (q *Queue) put(e *Entry) []clientv3.Op {
	return append([]clientv3.Op{
		clientv3.OpPut(e.Key, e.Value, clientv3.WithLease(e.Lease.ID())),
		e.Kind.before(q.prefix),
	}, e.Wanted...)
}

// entered takes the answers to put.
func (q *Queue) entered(e *Entry, revision int64, answers []*pb.ResponseOp) {
	q.mu.Lock()
	defer q.mu.Unlock()
	e.Revision, e.gone, e.said = revision, false, e.Value
	q.order(e, answers[1].GetResponseRange().Kvs, revision)
	e.Reads = reads(answers[2:])
}

// Reach brings an entry to the end of the queue, unless e has a place there, and waits until it is
// its turn. prepare makes entries on a live lease.
func (q *Queue) Reach(ctx context.Context, e *Entry, prepare func(*lease.Lease) *Entry) (*Entry, error) {
	for e == nil || e.Revision == 0 { // or the transaction that was to bring it there was not answered
		if e == nil {
			l, err := q.keeper.Lease(ctx)
			if err != nil {
				return nil, err
			}
			e = prepare(l)
		}
		switch err := q.Enter(ctx, e); {
		case errors.Is(err, ErrLost):
			e = nil // it had no place to lose yet
		case err != nil:
			return nil, err
		}
	}
	return e, q.Await(ctx, e)
}

// Enter brings the entry to the end of the queue. A try whose outcome is unknown is settled by
// the nonce in its value. When ctx ends first, the entry is removed in the background.
func (q *Queue) Enter(ctx context.Context, e *Entry) error {
	leave := func() {
		if e.sent || e.Revision != 0 {
			q.Remove(e)
		} else {
			q.free(e)
		}
	}
	var p pause
	for {
		if err := e.Lease.Err(); err != nil {
			leave()
			return fmt.Errorf("%w: %w", ErrLost, err)
		}
		if ctx.Err() != nil {
			leave()
			return context.Cause(ctx)
		}
		done, err := q.enter(ctx, e)
		switch {
		case done && e.clash != nil:
			q.Remove(e)
			return e.clash
		case done:
			return nil
		case err == nil:
			continue // under another key
		case errors.Is(err, rpctypes.ErrLeaseNotFound):
			_ = e.Lease.Confirm(ctx) // its end is what matters, and Err tells
		case hopeless(err) != nil:
			leave()
			return err
		}
		if !Refused(err) {
			e.sent, e.unheard = true, time.Now()
		}
		p.wait(ctx)
		if ctx.Err() != nil {
			leave()
			if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
				return fmt.Errorf("no answer: %w", context.Cause(ctx))
			}
			return fmt.Errorf("%w; last: %w", context.Cause(ctx), err)
		}
	}
}

// enter is one try.
func (q *Queue) enter(ctx context.Context, e *Entry) (done bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	resp, err := q.cli.Txn(ctx).
		If(clientv3.Compare(clientv3.CreateRevision(e.Key), "=", 0)).
		Then(q.put(e)...).
		Else(clientv3.OpGet(e.Key)).Commit()
	if err != nil {
		return false, err
	}
	if resp.Succeeded {
		q.entered(e, resp.Header.Revision, resp.Responses)
		return true, nil
	}
	found := resp.Responses[0].GetResponseRange().Kvs[0]
	if e.Kind.Unique || string(found.Value) == e.Value { // an earlier try
		e.Revision, e.said = found.CreateRevision, e.Value
		err := q.Look(ctx, e, resp.Header.Revision)
		return err == nil, err
	}
	// An orphan of this process: a write that came long after its caller had gone.
	orphan := &Entry{Key: e.Key, Revision: found.CreateRevision, Lease: e.Lease, Value: string(found.Value)}
	q.name(e)
	q.Remove(orphan)
	return false, nil
}

// now is a revision that no member has come to: what is read at it is linearizable.
const now = math.MaxInt64

// Look reads who is ahead, unless it is known that nobody is, and what the caller wants to read, at
// a revision or later. One member's answer at that revision is as good as a quorum's, and costs
// less even if the first ones that are asked have not come to it yet.
func (q *Queue) Look(ctx context.Context, e *Entry, least int64) error {
	const members = 3 // that are asked before a quorum is
	q.mu.Lock()
	least = max(least, e.at)
	q.mu.Unlock()
	for asked := range members + 1 {
		serializable := least != now && asked < members
		resp, err := q.look(ctx, e, serializable)
		if err != nil {
			return err
		}
		if serializable && resp.Header.Revision < least {
			continue // a member that lags behind
		}
		q.mu.Lock()
		own := resp.Responses[0].GetResponseRange().Kvs
		e.gone = len(own) == 0 || own[0].CreateRevision != e.Revision
		q.order(e, resp.Responses[1].GetResponseRange().Kvs, resp.Header.Revision)
		e.Reads = reads(resp.Responses[2:])
		q.mu.Unlock()
		return nil
	}
	return nil
}

// look is one try.
func (q *Queue) look(ctx context.Context, e *Entry, serializable bool) (*clientv3.TxnResponse, error) {
	q.mu.Lock()
	own := clientv3.OpGet(e.Key, clientv3.WithKeysOnly())
	before := own
	if len(e.ahead) > 0 || e.at == 0 {
		before = e.Kind.before(q.prefix, clientv3.WithMaxCreateRev(e.Revision))
	}
	q.mu.Unlock()
	ops := append([]clientv3.Op{own, before}, e.Wanted...)
	if serializable {
		for i := range ops {
			clientv3.WithSerializable()(&ops[i])
		}
	}
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	return q.cli.Txn(ctx).Then(ops...).Commit()
}

// Guard holds as long as the entry is there.
func (e *Entry) Guard() clientv3.Cmp {
	return clientv3.Compare(clientv3.CreateRevision(e.Key), "=", e.Revision)
}

// note has people read something else of the entry, if it is still there: in the background, and
// once, as nothing depends on it.
func (q *Queue) note(e *Entry, value string) {
	q.Go(func() {
		ctx, cancel := context.WithTimeout(q.life, tryTimeout)
		defer cancel()
		q.mu.Lock()
		said := e.said
		q.mu.Unlock()
		// Nobody else may have said something since: another process has resumed what it finds so.
		resp, err := q.cli.Txn(ctx).If(e.Guard(), clientv3.Compare(clientv3.Value(e.Key), "=", said)).
			Then(clientv3.OpPut(e.Key, value, clientv3.WithLease(e.Lease.ID()))).Commit()
		if err == nil && resp.Succeeded {
			q.mu.Lock()
			e.said = value
			q.mu.Unlock()
		}
	})
}

// Remove deletes the entry in the background, whatever is known of it, for as long as its Keeper
// lives and etcd may have its lease. Its key is not used again before.
func (q *Queue) Remove(e *Entry) {
	q.mu.Lock()
	q.removing++
	q.mu.Unlock()
	over := func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		if q.removing--; q.removing == 0 {
			close(q.removed)
			q.removed = make(chan struct{})
		}
	}
	going := q.keeper.Go(func(ctx context.Context) {
		defer over()
		ctx, cancel := outliving(ctx, e.Lease)
		defer cancel()
		if q.remove(ctx, e) {
			q.retire(e)
		} else {
			q.free(e)
		}
	})
	if !going { // and the leases of a closed Keeper are gone, or go
		q.free(e)
		over()
	}
}

// remove tells whether the entry is gone for certain.
func (q *Queue) remove(ctx context.Context, e *Entry) bool {
	own := clientv3.Compare(clientv3.Value(e.Key), "=", e.Value)
	switch {
	case e.Revision != 0:
		own = e.Guard()
	case e.Kind.Unique:
		own = clientv3.Compare(clientv3.CreateRevision(e.Key), ">", 0)
	}
	began := time.Now()
	for p := (pause{}); ctx.Err() == nil; p.wait(ctx) {
		try, cancel := context.WithTimeout(ctx, tryTimeout)
		_, err := q.cli.Txn(try).If(own).Then(clientv3.OpDelete(e.Key)).Commit()
		cancel()
		// A write without an answer may come later than its deletion.
		if err == nil && (e.Revision != 0 || time.Since(began) > lateness) {
			return true
		}
	}
	return false
}

// outliving is a context that ends some time after the lease, unless that is known to be gone: etcd
// may have it for longer than this process could rely on it.
func outliving(ctx context.Context, l *lease.Lease) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() { // ends with the context
		defer cancel()
		select {
		case <-l.Done():
		case <-ctx.Done():
			return
		}
		if err := l.Err(); !errors.Is(err, lease.ErrUnreachable) && !errors.Is(err, lease.ErrExpired) {
			return
		}
		t := time.NewTimer(leaveTimeout)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// lifetime is a context that ends with the lease, too.
func lifetime(ctx context.Context, l *lease.Lease) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() { // ends with the context
		select {
		case <-l.Done():
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

func reads(answers []*pb.ResponseOp) []*clientv3.GetResponse {
	all := make([]*clientv3.GetResponse, len(answers))
	for i, a := range answers {
		all[i] = (*clientv3.GetResponse)(a.GetResponseRange())
	}
	return all
}

// pause spaces tries, with full jitter.
type pause struct{ ceiling time.Duration }

func (p *pause) wait(ctx context.Context) {
	p.ceiling = min(max(2*p.ceiling, firstPause), maxPause)
	t := time.NewTimer(rand.N(p.ceiling))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

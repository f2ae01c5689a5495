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
// Waiting costs no requests as a rule. All entries of one client in one queue share a view of it, with
// one watch on all deletions, which stays open between acquisitions: the entries ahead were in the
// answer to an entry's own transaction, and when all of them have been deleted it is its turn. An
// entry with many ahead knows only the last few of them. When the one just before it is deleted it takes
// over what that one knew, if it is of the same client, and reads the queue if it is not. A few entries
// that are far from their turn watch only their own keys and those just before them, so that a turn
// wakes one client and not all. What the caller wants to read is watched, too: a transaction that
// writes it and ends the turn before tells of both. No watch begins at a past revision: the server would
// look at it every 100 ms only.
//
// A hold that is older than a second is guarded: its key is watched, and its deletion, also with its
// lease, ends it at once. The request that tells people since when it is held, or a read, makes sure
// that nothing happened before the watch was open.
//
// Watches can fall silent without an end. So each client asks the members that serve its watches
// every 2 s, with one progress request on each stream (as a rule one), whether they are there. A watch that
// says nothing for 1.5 s is opened again on another stream, which leads to another member, and what
// was missed is settled by comparing revisions, with one read for all entries of a view.
package queue

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/ask"
	"github.com/etcdkit/etcdkit/lease"
)

// ErrLost: the entry is gone, or must be taken for gone, as its lease has ended.
var ErrLost = errors.New("entry lost")

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

	moved chan struct{} // wakes what waits for it, or guards it

	// Guarded by hub.mu.
	ahead   map[string]item // the keys that come first and what they take, as of a revision
	taken   int64           // by all of them; two that take all are more than 32 bits hold
	sizes   map[int]int     // that they count to: how many do
	partial bool            // more are ahead
	unsure  bool            // who is ahead has to be read
	last    predecessor
	before  *Entry // last, if it is this client's
	at      int64
	seen    int64  // when it was last read that it is there
	heard   int64  // the last deletion of one ahead
	fresh   bool   // Reads are of when nobody was ahead any more
	turned  bool   // its turn came
	gone    bool   // another client deleted it
	said    string // what its value is, as far as is known
	unclaim func() // gives the key back
	freed   bool   // its key is another one's

	// Of its view, guarded by hub.mu.
	wide     bool     // it needs the watch of all deletions
	waited   bool     // long enough to have its own key watched
	settled  bool     // what happened before on was opened is known
	on       []*watch // which tell of deletions
	mentions []string // keys whose deletion matters
	watched  []string // keys that have watches of their own

	// Of its hold, guarded by hub.mu.
	hold    *Hold     // the newest
	since   time.Time // when the first one began
	held    bool      // its key is guarded
	left    chan struct{}
	leaving bool // left is closed

	slot    int
	sent    bool      // a write of it is under way, or was: it may be there
	unheard time.Time // when one was given up that may still come
}

// predecessor is the entry just before another one.
type predecessor struct {
	key      string
	revision int64 // at which it was created: keys are used again
}

// item is what an entry takes, of how much. A size of 0 takes all.
type item struct{ weight, size int }

// place tells an entry who is ahead, in the order in which they came, as of a revision. hub.mu is
// held.
func (e *Entry) place(v *view, ahead []*mvccpb.KeyValue, partial bool, at int64) {
	e.forget()
	e.partial, e.at, e.fresh = partial, at, true
	e.settled = false // what was heard already may be later
	for _, kv := range ahead {
		key := string(kv.Key)
		e.follows(key, e.Kind.takes(key[len(v.prefix):]))
		if kv.CreateRevision > e.last.revision {
			e.last = predecessor{key, kv.CreateRevision}
		}
	}
	if partial {
		e.before = v.local[e.last]
	}
}

// forget empties what is known of who is ahead. hub.mu is held.
func (e *Entry) forget() {
	e.ahead, e.sizes, e.taken = make(map[string]item), nil, 0
	e.partial, e.unsure, e.last, e.before = false, false, predecessor{}, nil
}

// follows adds one that is ahead. hub.mu is held.
func (e *Entry) follows(key string, i item) {
	e.ahead[key] = i
	e.taken += int64(i.weight)
	if i.size > 0 {
		if e.sizes == nil {
			e.sizes = make(map[int]int)
		}
		e.sizes[i.size]++
	}
}

// passed takes one away. hub.mu is held.
func (e *Entry) passed(key string, i item) {
	delete(e.ahead, key)
	e.taken -= int64(i.weight)
	if i.size == 0 {
		return
	}
	if e.sizes[i.size]--; e.sizes[i.size] == 0 {
		delete(e.sizes, i.size)
	}
}

// clear tells whether nobody is ahead whom the entry waits for. hub.mu is held.
func (e *Entry) clear() bool {
	if e.partial || e.unsure {
		return false
	}
	limit := e.Kind.Size
	for size := range e.sizes {
		limit = min(limit, size)
	}
	return len(e.ahead) == 0 || e.Kind.Size > 0 && e.taken+int64(e.Kind.Weight) <= int64(limit)
}

// wake wakes what waits for the entry. It does not block.
func (e *Entry) wake() {
	select {
	case e.moved <- struct{}{}:
	default:
	}
}

// Prepare makes an entry that is nowhere yet.
func (q *Queue) Prepare(l *lease.Lease, kind Kind, value string, wanted []clientv3.Op) *Entry {
	e := &Entry{Lease: l, Kind: kind, Value: value, Wanted: wanted, moved: make(chan struct{}, 1)}
	q.name(e)
	return e
}

// name gives the entry a key that nobody has who shares its lease.
func (q *Queue) name(e *Entry) {
	q.mu.Lock()
	defer q.mu.Unlock()
	slots := q.viewed().slots
	for slot := slots[e.Lease.ID()]; ; slot++ {
		e.Key, e.slot = e.Kind.key(q.prefix, int64(e.Lease.ID()), slot), slot
		if release, ok := q.keeper.Claim(e.Key); ok {
			e.unclaim = release
			slots[e.Lease.ID()] = slot + 1
			return
		}
	}
}

// retire is free for an entry that was deleted: a try of entering that was not answered, and was
// done again, may still come, and then it is to go as well.
func (q *Queue) retire(e *Entry) {
	q.mu.Lock()
	e.end(q.viewed())
	late := !e.freed && !e.unheard.IsZero() && time.Since(e.unheard) <= lateness
	e.freed = e.freed || late // what removes it gives the key back, once
	q.mu.Unlock()
	if !late {
		q.free(e)
		return
	}
	q.Remove(&Entry{Key: e.Key, Value: e.Value, Kind: e.Kind, Lease: e.Lease, slot: e.slot, unclaim: e.unclaim})
}

// free gives the key back, once the entry is not there and will not come.
func (q *Queue) free(e *Entry) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !e.freed {
		e.freed = true
		v := q.viewed()
		e.end(v)
		e.unclaim()
		switch next, ok := v.slots[e.Lease.ID()]; {
		case e.Lease.Err() != nil: // there will be no more on it
			delete(v.slots, e.Lease.ID())
		case ok && e.slot < next:
			v.slots[e.Lease.ID()] = e.slot
		}
	}
}

// end is told that this process is done with an entry. hub.mu is held.
func (e *Entry) end(v *view) {
	if place := (predecessor{e.Key, e.Revision}); v.local[place] == e {
		delete(v.local, place)
	}
	if e.left != nil && !e.leaving {
		e.leaving = true
		close(e.left)
	}
}

// put are the operations that bring an entry to the end of the queue and tell who is ahead.
func (q *Queue) put(e *Entry) []clientv3.Op {
	ops := append([]clientv3.Op{clientv3.OpPut(e.Key, e.Value, clientv3.WithLease(e.Lease.ID()))}, e.Kind.before(q.prefix)...)
	return append(ops, e.Wanted...)
}

// entered takes the answers to put.
func (q *Queue) entered(e *Entry, revision int64, answers []*pb.ResponseOp) {
	q.mu.Lock()
	defer q.mu.Unlock()
	e.Revision, e.gone, e.said = revision, false, e.Value
	n := 1 + e.Kind.reads()
	v := q.viewed()
	kvs, partial := e.Kind.ahead(e, answers[1:n])
	e.place(v, kvs, partial, revision)
	e.Reads = reads(answers[n:])
	v.local[predecessor{e.Key, revision}] = e
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
			if ask.TimeIsUp(err) {
				return fmt.Errorf("no answer: %w", context.Cause(ctx))
			}
			return fmt.Errorf("%w; last: %w", context.Cause(ctx), err)
		}
	}
}

// enter is one try.
func (q *Queue) enter(ctx context.Context, e *Entry) (done bool, err error) {
	v, err := q.line(ctx)
	if err != nil {
		return false, err
	}
	resp, more, err := hedge(ctx, q.hub, func(ctx context.Context) (*clientv3.TxnResponse, error) {
		return q.cli.Txn(ctx).
			If(clientv3.Compare(clientv3.CreateRevision(e.Key), "=", 0)).
			Then(q.put(e)...).
			Else(clientv3.OpGet(e.Key)).Commit()
	})
	<-v.entering
	if more {
		e.sent, e.unheard = true, time.Now()
	}
	if err != nil {
		return false, err
	}
	if resp.Succeeded {
		q.entered(e, resp.Header.Revision, resp.Responses)
		return true, nil
	}
	found := resp.Responses[0].GetResponseRange().Kvs[0]
	if e.Kind.Unique || string(found.Value) == e.Value { // an earlier try
		q.mu.Lock()
		e.Revision, e.said = found.CreateRevision, e.Value
		v.local[predecessor{e.Key, e.Revision}] = e
		q.mu.Unlock()
		err := q.Look(ctx, e, resp.Header.Revision)
		return err == nil, err
	}
	// An orphan of this process: a write that came long after its caller had gone.
	orphan := &Entry{Key: e.Key, Revision: found.CreateRevision, Lease: e.Lease, Value: string(found.Value), slot: e.slot, unclaim: e.unclaim}
	q.name(e)
	q.Remove(orphan)
	return false, nil
}

// line waits until the entering transactions of this client for this name are few enough. Each costs
// the member a walk of the queue; a backlog of them would hold up the keepalives.
func (q *Queue) line(ctx context.Context) (*view, error) {
	q.mu.Lock()
	v := q.viewed()
	q.mu.Unlock()
	select {
	case v.entering <- struct{}{}:
		return v, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

const (
	// now is a revision that no member has come to: what is read at it is linearizable.
	now = math.MaxInt64
	// members are asked before a quorum is.
	members = 3
)

// Look reads who is ahead, unless it is known that nobody is, and what the caller wants to read, at
// a revision or later. One member's answer at that revision is as good as a quorum's, and costs
// less even if the first ones that are asked have not come to it yet.
func (q *Queue) Look(ctx context.Context, e *Entry, least int64) error {
	q.mu.Lock()
	least = max(least, e.at)
	q.mu.Unlock()
	for asked := range members + 1 {
		serializable := least != now && asked < members
		resp, n, err := q.look(ctx, e, serializable)
		if err != nil {
			return err
		}
		if serializable && resp.Header.Revision < least {
			continue // a member that lags behind
		}
		q.mu.Lock()
		own := resp.Responses[0].GetResponseRange().Kvs
		e.gone = e.gone || len(own) == 0 || own[0].CreateRevision != e.Revision
		kvs, partial := e.Kind.ahead(e, resp.Responses[1:n])
		e.place(q.viewed(), kvs, partial, resp.Header.Revision)
		e.Reads = reads(resp.Responses[n:])
		q.mu.Unlock()
		return nil
	}
	return nil
}

// look is one try. The answers to what the caller wants begin with the nth.
func (q *Queue) look(ctx context.Context, e *Entry, serializable bool) (resp *clientv3.TxnResponse, n int, err error) {
	ops := []clientv3.Op{clientv3.OpGet(e.Key, clientv3.WithKeysOnly())}
	q.mu.Lock()
	if len(e.ahead) > 0 || !e.clear() || e.at == 0 {
		ops = append(ops, e.Kind.before(q.prefix, clientv3.WithMaxCreateRev(e.Revision))...)
	}
	n = len(ops)
	ops = append(ops, e.Wanted...)
	q.mu.Unlock()
	if serializable {
		for i := range ops {
			clientv3.WithSerializable()(&ops[i])
		}
	}
	resp, _, err = hedge(ctx, q.hub, func(ctx context.Context) (*clientv3.TxnResponse, error) {
		return q.cli.Txn(ctx).Then(ops...).Commit()
	})
	return resp, n, err
}

// Guard holds as long as the entry is there.
func (e *Entry) Guard() clientv3.Cmp {
	return clientv3.Compare(clientv3.CreateRevision(e.Key), "=", e.Revision)
}

// Remove deletes the entry in the background, whatever is known of it, for as long as its Keeper
// lives and etcd may have its lease. Its key is not used again before.
func (q *Queue) Remove(e *Entry) {
	q.mu.Lock()
	e.end(q.viewed())
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
		defer context.AfterFunc(q.cli.Ctx(), cancel)()
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
		if err == nil {
			q.answers.Add(1)
		}
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

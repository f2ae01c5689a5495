package queue

import (
	"context"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/ask"
)

// watchAfter is how long a hold lasts before etcd is told since when, and its key is watched.
const watchAfter = time.Second

// ownWatch is what an entry knows of its holds. view.mu guards it.
type ownWatch struct {
	hold        *Hold              // the newest
	heldSince   time.Time          // when the first one began
	ownWatched  bool               // its key is watched for its holds
	endOwnWatch context.CancelFunc // nil: it is not
}

// watchLongHold watches the key of a hold that has lasted for long, and replaces what people read of it;
// with an empty value it does not.
func (q *Queue) watchLongHold(h *Hold, value string) {
	v := q.lockView()
	defer v.mu.Unlock()
	switch e := h.entry; {
	case e.hold != h || q.Closed() != nil:
	case !e.ownWatched:
		q.watchOwnKey(e, func(ctx context.Context) (int64, bool, error) { return q.writeValue(ctx, e, value) })
	case value != "":
		q.running.start(func() {
			ctx, cancel := context.WithTimeout(q.background, tryTimeout)
			defer cancel()
			_, _, _ = q.writeValue(ctx, e, value) // nothing depends on it
		})
	}
}

// check finds out whether an entry was there, and at which revision.
type check func(context.Context) (at int64, exists bool, err error)

// watchOwnKey ends the hold of an entry, from now on, when another client deletes it or its lease is revoked.
// first is a request that finds out whether the entry is there once the watch is open; nil: one that
// only reads. view.mu is held.
func (q *Queue) watchOwnKey(e *Entry, first check) {
	if first == nil {
		first = func(ctx context.Context) (int64, bool, error) { return q.exists(ctx, e, linearizable) }
	}
	ctx, end := ask.UntilDone(q.background, e.Lease.Done(), nil)
	e.ownWatched, e.endOwnWatch = true, end
	q.running.start(func() { // ends with the entry, its lease, or the queue
		defer end()
		deleted := q.awaitDeletion(ctx, e, first)
		v := q.lockView()
		v.unsubscribe(e)
		h := e.hold
		v.mu.Unlock()
		if deleted {
			h.deleted()
		}
	})
}

// endHere records that this process is done with an entry. view.mu is held.
func (e *Entry) endHere(v *view) {
	if v.local[e.id()] == e {
		delete(v.local, e.id())
	}
	if e.endOwnWatch != nil {
		e.endOwnWatch()
	}
}

// awaitDeletion returns true when the entry was deleted, or false when ctx ends.
func (q *Queue) awaitDeletion(ctx context.Context, e *Entry, first check) bool {
	for p := q.client.backoff(); ctx.Err() == nil; {
		watches, caughtUp := q.subscribe(e)
		if !caughtUp {
			err := awaitOpen(ctx, watches)
			if err == nil {
				err = q.confirm(ctx, e, reportFrom(watches), first)
			}
			if ask.Permanent(err) {
				first = nil // the value is not written; whether the key is there can still be read
			}
			if err != nil && !q.Deleted(e) {
				_ = p.Wait(ctx)
				continue
			}
			first = nil
			p.Reset()
		}
		if q.Deleted(e) {
			return true
		}
		select {
		case <-e.woken:
		case <-ctx.Done():
		}
	}
	return false
}

// confirm makes sure that nothing has happened to the entry before the watch was open, from a revision on.
func (q *Queue) confirm(ctx context.Context, e *Entry, from int64, first check) error {
	v := q.lockView()
	seenAt := e.seenAt
	v.mu.Unlock()
	if first != nil || seenAt < from {
		at, exists, err := int64(0), false, error(nil)
		if first != nil {
			at, exists, err = first(ctx)
		}
		if err == nil && at < from { // by a member that lags behind
			at, exists, err = q.exists(ctx, e, from)
		}
		if err != nil {
			return err
		}
		v.mu.Lock()
		e.seenAt = at
		e.deleted = e.deleted || !exists
		v.mu.Unlock()
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	e.caughtUp = true
	v.replayDeletions(e)
	return nil
}

// writeValue replaces what people read of the entry, if it is still there, and tells whether it is. An
// empty value only finds that out.
func (q *Queue) writeValue(ctx context.Context, e *Entry, value string) (at int64, exists bool, err error) {
	if value == "" {
		return q.exists(ctx, e, linearizable)
	}
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	v := q.lockView()
	known := e.knownValue
	v.mu.Unlock()
	// The value must be the known one: another process has resumed an entry that has another.
	resp, err := q.cli.Txn(ctx).If(e.Guard(), clientv3.Compare(clientv3.Value(e.Key), "=", known)).
		Then(clientv3.OpPut(e.Key, value, clientv3.WithLease(e.Lease.ID()))).
		Else(clientv3.OpGet(e.Key)).Commit()
	if err != nil {
		return 0, false, err
	}
	at = resp.Header.Revision
	if resp.Succeeded {
		v.mu.Lock()
		defer v.mu.Unlock()
		e.knownValue = value
		return at, true, nil
	}
	found := resp.Responses[0]
	return at, has(found, e.Revision) && found.GetResponseRange().Kvs[0].Lease == int64(e.Lease.ID()), nil
}

package queue

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/etcdkit/etcdkit/internal/ask"
)

// longWait is after how long a wait has its own key watched as well, where only the one before it is.
const longWait = time.Second

// Await returns when it is the entry's turn, with the caller's reads made at that time or later.
// ErrLost ends it when the entry is gone or its lease has ended. When ctx ends first, the entry is
// removed in the background.
func (q *Queue) Await(ctx context.Context, e *Entry) error {
	if q.takeTurn(e) && e.Lease.Err() == nil { // as a rule without others
		return nil
	}
	leased, cancel := ask.UntilDone(ctx, e.Lease.Done(), nil)
	defer cancel()
	err := q.await(leased, e)
	v := q.lockView()
	v.unsubscribe(e)
	v.mu.Unlock()
	if lost := e.Lease.Err(); lost != nil {
		q.RemoveLater(e)
		return lostBy(lost)
	}
	if err == nil {
		return nil
	}
	q.RemoveLater(e)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func (q *Queue) await(ctx context.Context, e *Entry) error {
	for p := q.client.backoff(); !q.takeTurn(e); {
		v := q.lockView()
		deleted, mustRead, allowed, at := e.deleted, e.ahead.mustRead, e.allowed(), max(e.ahead.at, e.ahead.lastDeletion)
		v.mu.Unlock()
		if deleted {
			return lostBy(errKeyDeleted)
		}
		var err error
		switch {
		case mustRead:
			err = q.catchUp(ctx, e, at)
		case allowed && q.readFromWatch(ctx, e):
		case allowed:
			err = q.readAhead(ctx, e, at)
		default:
			err = q.awaitChange(ctx, e)
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
		case ask.Permanent(err):
			return err // what the caller wants to read cannot be
		default:
			_ = p.Wait(ctx)
		}
	}
	return nil
}

// awaitChange waits until a deletion was reported to the entry, or there is another reason to look after it.
func (q *Queue) awaitChange(ctx context.Context, e *Entry) error {
	watches, caughtUp := q.subscribe(e)
	if !caughtUp {
		if err := awaitOpen(ctx, watches); errors.Is(err, errNotOpened) {
			return errors.Join(err, q.catchUp(ctx, e, linearizable))
		} else if err != nil {
			return err
		}
		v := q.lockView()
		if !slices.Equal(e.watches, watches) { // it was placed again meanwhile, and others report to it now
			v.mu.Unlock()
			return nil
		}
		from := reportFrom(watches)
		missed := e.ahead.at < from
		if e.caughtUp = !missed; e.caughtUp {
			v.replayDeletions(e)
		}
		v.mu.Unlock()
		if missed { // what was deleted before they were open
			return q.catchUp(ctx, e, from)
		}
	}
	var long <-chan time.Time
	v := q.lockView()
	if !e.onQueueWatch && !e.waitedLong { // nothing reports the deletion of the entry itself
		long = time.After(longWait)
	}
	v.mu.Unlock()
	select {
	case <-e.woken:
	case <-long:
		v.mu.Lock()
		e.waitedLong = true
		v.mu.Unlock()
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// subscribe has deletions reported to an entry. caughtUp tells that it knows what happened before.
func (q *Queue) subscribe(e *Entry) (watches []*watch, caughtUp bool) {
	v := q.lockView()
	defer v.mu.Unlock()
	watches = v.subscribe(e)
	if !e.ownWatched {
		v.watchValues(e.Wanted)
	}
	return watches, e.caughtUp
}

// catchUp finds out where the entry stands, at a revision or later.
func (q *Queue) catchUp(ctx context.Context, e *Entry, least int64) error {
	v := q.lockView()
	known, last := !e.ahead.mustRead, e.ahead.last
	many, far := known && len(v.subscribed) > mostReads, known && e.ahead.partial
	v.mu.Unlock()
	if many { // all have missed the same
		return v.readShared(ctx, least)
	}
	return q.client.limitReads(ctx, func() error {
		if far {
			if known, err := q.bothExist(ctx, e, last, least); err != nil || known {
				return err
			}
		}
		return q.readAhead(ctx, e, least)
	})
}

// errNotOpened: etcd did not confirm a watch.
var errNotOpened = errors.New("the watch does not open")

// awaitOpen waits until all watches are open.
func awaitOpen(ctx context.Context, watches []*watch) error {
	for _, w := range watches {
		if err := w.await(ctx); err != nil {
			return err
		}
	}
	return nil
}

// reportFrom is the revision after which all watches report everything.
func reportFrom(watches []*watch) (from int64) {
	for _, w := range watches {
		from = max(from, w.from.Load())
	}
	return from
}

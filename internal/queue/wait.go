package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Await returns when it is the entry's turn, with the caller's reads made at that time or later.
// ErrLost ends it when the entry is gone or its lease has ended. When ctx ends first, the entry is
// removed in the background.
func (q *Queue) Await(ctx context.Context, e *Entry) error {
	if q.turn(e) && e.Lease.Err() == nil { // as a rule without others
		return nil
	}
	held, cancel := lifetime(ctx, e.Lease)
	defer cancel()
	err := q.await(held, e)
	q.mu.Lock()
	q.viewed().detach(e)
	q.mu.Unlock()
	if lost := e.Lease.Err(); lost != nil {
		q.Remove(e)
		return fmt.Errorf("%w: %w", ErrLost, lost)
	}
	if err == nil {
		return nil
	}
	q.Remove(e)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// turn tells whether nobody is ahead and the caller's reads are made.
func (q *Queue) turn(e *Entry) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if e.Revision == 0 || e.gone || !e.clear() || !e.fresh && len(e.Wanted) > 0 {
		return false
	}
	e.turned, e.before = true, nil
	return true
}

func (q *Queue) await(ctx context.Context, e *Entry) error {
	for p := (pause{}); !q.turn(e); {
		q.mu.Lock()
		gone, unsure, clear, at := e.gone, e.unsure, e.clear(), max(e.at, e.heard)
		q.mu.Unlock()
		if gone {
			return fmt.Errorf("%w: another client deleted it", ErrLost)
		}
		var err error
		switch {
		case unsure:
			err = q.settle(ctx, e, at)
		case clear && q.saw(ctx, e):
		case clear:
			err = q.Look(ctx, e, at)
		default:
			err = q.listen(ctx, e)
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
		case Refused(err):
			return err // what the caller wants to read cannot be
		default:
			p.wait(ctx)
		}
	}
	return nil
}

// listen waits until the entry has moved, or there is another reason to look after it.
func (q *Queue) listen(ctx context.Context, e *Entry) error {
	watches, settled := q.attach(e)
	if !settled {
		from, err := opened(ctx, watches)
		if errors.Is(err, errSilent) {
			return errors.Join(err, q.settle(ctx, e, now))
		}
		if err != nil {
			return err
		}
		q.mu.Lock()
		if !slices.Equal(e.on, watches) { // it was placed anew meanwhile, and others tell it now
			q.mu.Unlock()
			return nil
		}
		missed := e.at < from
		if e.settled = !missed; e.settled {
			q.viewed().remember(e)
		}
		q.mu.Unlock()
		if missed { // what was deleted before they were open
			return q.settle(ctx, e, from)
		}
	}
	var long <-chan time.Time
	if q.unwatched(e) {
		t := time.NewTimer(longWait)
		defer t.Stop()
		long = t.C
	}
	select {
	case <-e.moved:
	case <-long:
		q.mu.Lock()
		e.waited = true
		q.mu.Unlock()
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// longWait is after how long a wait has its own key watched as well, where only the one before it is.
const longWait = time.Second

// unwatched tells whether nothing tells of the deletion of the entry itself.
func (q *Queue) unwatched(e *Entry) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return !e.wide && !e.waited
}

// attach has deletions reported to an entry. settled tells that it knows what happened before.
func (q *Queue) attach(e *Entry) (watches []*watch, settled bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	v := q.viewed()
	watches = v.attach(e)
	if !e.held {
		v.attend(e.Wanted)
	}
	return watches, e.settled
}

// opened waits until all watches are open, and returns the revision after which they hear everything.
func opened(ctx context.Context, watches []*watch) (from int64, err error) {
	for _, w := range watches {
		select {
		case <-w.open:
		case <-w.done:
			select {
			case <-w.open:
			default:
				return 0, errSilent
			}
		case <-ctx.Done():
			return 0, ctx.Err()
		}
		w.hub.mu.Lock()
		from = max(from, w.from)
		w.hub.mu.Unlock()
	}
	return from, nil
}

var errSilent = errors.New("the watch does not open")

// settle finds out where the entry stands, at a revision or later.
func (q *Queue) settle(ctx context.Context, e *Entry, least int64) error {
	q.mu.Lock()
	v := q.viewed()
	many, far, last := len(v.attached) > mostLooks && !e.unsure, e.partial && !e.unsure, e.last
	q.mu.Unlock()
	if many { // all have missed the same
		return v.look(ctx, least)
	}
	select {
	case q.hub.looks <- struct{}{}:
		defer func() { <-q.hub.looks }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if far {
		at, err := q.there(ctx, e, last, least)
		if err != nil || at != 0 {
			return err
		}
	}
	return q.Look(ctx, e, least)
}

// there finds out whether an entry and the one before it are there, at a revision or later, and
// returns that revision if they are.
func (q *Queue) there(ctx context.Context, e *Entry, last predecessor, least int64) (at int64, err error) {
	for asked := range members + 1 {
		own, before := clientv3.OpGet(e.Key, clientv3.WithKeysOnly()), clientv3.OpGet(last.key, clientv3.WithKeysOnly())
		serializable := least != now && asked < members
		if serializable {
			clientv3.WithSerializable()(&own)
			clientv3.WithSerializable()(&before)
		}
		resp, _, err := hedge(ctx, q.hub, func(ctx context.Context) (*clientv3.TxnResponse, error) {
			return q.cli.Txn(ctx).Then(own, before).Commit()
		})
		switch {
		case err != nil:
			return 0, err
		case serializable && resp.Header.Revision < least:
			continue // a member that lags behind
		case !is(resp, 0, e.Revision):
			q.mu.Lock()
			e.gone = true
			q.mu.Unlock()
			return resp.Header.Revision, nil
		case !is(resp, 1, last.revision):
			return 0, nil
		}
		q.mu.Lock()
		defer q.mu.Unlock()
		if e.last == last {
			e.at = max(e.at, resp.Header.Revision)
		}
		return resp.Header.Revision, nil
	}
	return 0, nil
}

// is tells whether an answer has a key that was created at a revision.
func is(resp *clientv3.TxnResponse, i int, revision int64) bool {
	kvs := resp.Responses[i].GetResponseRange().Kvs
	return len(kvs) > 0 && kvs[0].CreateRevision == revision
}

package queue

import (
	"context"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// guard tells the holds of an entry, from now on, when another client deletes it or its lease is revoked.
// first is a request that finds out whether the entry is there once the watch is open; nil: one that
// only reads. q.mu is held.
func (q *Queue) guard(e *Entry, first check) {
	e.held, e.left = true, make(chan struct{})
	if first == nil {
		first = func(ctx context.Context) (int64, bool, error) { return q.isThere(ctx, e, 0) }
	}
	q.start(func() { // ends with the entry, its lease, or the queue
		ctx, cancel := lifetime(q.life, e.Lease)
		defer cancel()
		stop := make(chan struct{})
		defer close(stop)
		go func() { // ends with this
			select {
			case <-e.left:
				cancel()
			case <-stop:
			}
		}()
		defer func() {
			q.mu.Lock()
			defer q.mu.Unlock()
			q.viewed().detach(e)
		}()
		if q.watchOwn(ctx, e, first) {
			q.mu.Lock()
			h := e.hold
			q.mu.Unlock()
			h.deleted()
		}
	})
}

// check finds out whether an entry was there, and at which revision.
type check func(context.Context) (at int64, there bool, err error)

// watchOwn returns true when the entry is gone, or false when ctx ends.
func (q *Queue) watchOwn(ctx context.Context, e *Entry, first check) bool {
	for p := (pause{}); ctx.Err() == nil; {
		watches, settled := q.attach(e)
		if !settled {
			from, err := opened(ctx, watches)
			if err != nil {
				p.wait(ctx)
				continue
			}
			if err := q.confirm(ctx, e, from, first); err != nil {
				if hopeless(err) != nil {
					first = nil // people are not told; whether it is there can still be read
				}
				q.mu.Lock()
				gone := e.gone
				q.mu.Unlock()
				if gone {
					return true
				}
				p.wait(ctx)
				continue
			}
			first, p = nil, pause{}
		}
		q.mu.Lock()
		gone := e.gone
		q.mu.Unlock()
		if gone {
			return true
		}
		select {
		case <-e.moved:
		case <-ctx.Done():
		}
	}
	return false
}

// confirm makes sure that nothing has happened to the entry before the watch was open.
func (q *Queue) confirm(ctx context.Context, e *Entry, from int64, first check) error {
	q.mu.Lock()
	seen := e.seen
	q.mu.Unlock()
	if first != nil || seen < from {
		at, there, err := int64(0), false, error(nil)
		if first != nil {
			at, there, err = first(ctx)
		}
		if err == nil && at < from { // by a member that lags behind
			at, there, err = q.isThere(ctx, e, from)
		}
		if err != nil {
			return err
		}
		q.mu.Lock()
		e.seen = at
		e.gone = e.gone || !there
		q.mu.Unlock()
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	e.settled = true
	q.viewed().remember(e)
	return nil
}

// isThere reads whether an entry is there, at a revision or later.
func (q *Queue) isThere(ctx context.Context, e *Entry, least int64) (at int64, there bool, err error) {
	select {
	case q.hub.looks <- struct{}{}:
		defer func() { <-q.hub.looks }()
	case <-ctx.Done():
		return 0, false, ctx.Err()
	}
	for asked := range members + 1 {
		opts := []clientv3.OpOption{clientv3.WithKeysOnly()}
		if asked < members && least > 0 {
			opts = append(opts, clientv3.WithSerializable())
		}
		resp, _, err := hedge(ctx, q.hub, func(ctx context.Context) (*clientv3.GetResponse, error) {
			return q.cli.Get(ctx, e.Key, opts...)
		})
		if err != nil {
			return 0, false, err
		}
		if at = resp.Header.Revision; at >= least {
			return at, len(resp.Kvs) > 0 && resp.Kvs[0].CreateRevision == e.Revision, nil
		}
	}
	return at, false, nil
}

// note has people read something else of the entry, if it is still there, and tells whether it is. An
// empty one only finds that out.
func (q *Queue) note(ctx context.Context, e *Entry, value string) (at int64, there bool, err error) {
	if value == "" {
		return q.isThere(ctx, e, 0)
	}
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	q.mu.Lock()
	said := e.said
	q.mu.Unlock()
	// Nobody else may have said something since: another process has resumed what it finds so.
	resp, err := q.cli.Txn(ctx).If(e.Guard(), clientv3.Compare(clientv3.Value(e.Key), "=", said)).
		Then(clientv3.OpPut(e.Key, value, clientv3.WithLease(e.Lease.ID()))).
		Else(clientv3.OpGet(e.Key)).Commit()
	if err != nil {
		return 0, false, err
	}
	if resp.Succeeded {
		q.mu.Lock()
		e.said = value
		q.mu.Unlock()
		return resp.Header.Revision, true, nil
	}
	kvs := resp.Responses[0].GetResponseRange().Kvs
	there = len(kvs) > 0 && kvs[0].CreateRevision == e.Revision && kvs[0].Lease == int64(e.Lease.ID())
	return resp.Header.Revision, there, nil
}

// Deleted tells whether another client is known to have deleted an entry.
func (q *Queue) Deleted(e *Entry) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return e.gone
}

// drop removes an entry whose hold was lost: etcd may have it still.
func (q *Queue) drop(e *Entry) {
	if q.Deleted(e) {
		q.retire(e)
		return
	}
	q.Remove(e)
}

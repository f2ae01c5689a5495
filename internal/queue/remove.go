package queue

import (
	"context"
	"errors"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/ask"
	"github.com/etcdkit/etcdkit/lease"
)

// endDeleted ends an entry that was deleted. A try of entering that was not answered, and was done again, may
// still be carried out: then that is removed, too.
func (q *Queue) endDeleted(e *Entry) {
	v := q.lockView()
	e.endHere(v)
	v.mu.Unlock()
	if !e.late.pending() {
		q.releaseKey(e)
	} else if late := q.passKey(e); late != nil {
		q.RemoveLater(late)
	}
}

// endLost removes an entry whose hold was lost: etcd may have it still.
func (q *Queue) endLost(e *Entry) {
	if q.Deleted(e) {
		q.endDeleted(e)
		return
	}
	q.RemoveLater(e)
}

// RemoveLater deletes the entry in the background, whatever is known of it, for as long as its Keeper
// lives and etcd may have its lease. Its key is not used again before.
func (q *Queue) RemoveLater(e *Entry) {
	v := q.lockView()
	e.endHere(v)
	v.mu.Unlock()
	q.removals.add()
	going := ask.BackgroundOf(q.keeper).Go(func(ctx context.Context) {
		defer q.removals.done()
		ctx, cancel := outliving(ctx, e.Lease)
		defer cancel()
		defer context.AfterFunc(q.cli.Ctx(), cancel)()
		if q.deleteFromEtcd(ctx, e) {
			q.endDeleted(e)
		} else {
			q.releaseKey(e)
		}
	})
	if !going { // and the leases of a closed Keeper are gone, or go
		q.releaseKey(e)
		q.removals.done()
	}
}

// deleteFromEtcd deletes the entry, and tells whether it is gone for certain.
func (q *Queue) deleteFromEtcd(ctx context.Context, e *Entry) bool {
	own := clientv3.Compare(clientv3.Value(e.Key), "=", e.Value)
	switch {
	case e.Revision != 0:
		own = e.Guard()
	case e.Kind.Unique:
		own = clientv3.Compare(clientv3.CreateRevision(e.Key), ">", 0)
	}
	began := time.Now()
	for p := q.client.backoff(); ctx.Err() == nil; _ = p.Wait(ctx) {
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
		select {
		case <-time.After(leaveTimeout):
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

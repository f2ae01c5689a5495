package queue

import (
	"context"
	"errors"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// Company calls f once somebody else is in the queue beside e, or e is not there any more; unless
// ctx ends before. It is for an entry that is kept in the queue though nobody needs it now.
func (q *Queue) Company(ctx context.Context, e *Entry, f func()) {
	q.Go(func() {
		ctx, cancel := lifetime(ctx, e.Lease)
		defer cancel()
		defer context.AfterFunc(q.life, cancel)()
		for p := (pause{}); ctx.Err() == nil; p.wait(ctx) {
			if q.company(ctx, e) {
				if ctx.Err() == nil {
					f()
				}
				return
			}
		}
	})
}

// company watches until it is known, or the watch ends.
func (q *Queue) company(ctx context.Context, e *Entry) bool {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	q.mu.Lock()
	watching := q.watching(ctx)
	q.mu.Unlock()
	for resp := range q.cli.Watch(watching, q.prefix, clientv3.WithPrefix(), clientv3.WithCreatedNotify()) {
		if resp.Created && !resp.Canceled {
			try, end := context.WithTimeout(ctx, tryTimeout)
			got, err := q.cli.Get(try, q.prefix, clientv3.WithPrefix(), clientv3.WithKeysOnly(), clientv3.WithLimit(2))
			end()
			if err != nil {
				return false
			}
			if len(got.Kvs) != 1 || string(got.Kvs[0].Key) != e.Key {
				return true
			}
		}
		for _, ev := range resp.Events {
			own := string(ev.Kv.Key) == e.Key
			if own && ev.Type == mvccpb.DELETE && ev.Kv.ModRevision > e.Revision || !own && ev.IsCreate() {
				return true
			}
		}
	}
	return false
}

// Renew makes an entry whose turn it is the next caller's of this process: what that wants to read
// is read, linearizably, as etcd has not heard of the change.
func (q *Queue) Renew(ctx context.Context, e *Entry, wanted []clientv3.Op) error {
	q.mu.Lock()
	e.Wanted, e.Reads = wanted, nil
	q.mu.Unlock()
	if len(wanted) == 0 {
		return nil
	}
	if err := q.Look(ctx, e, now); err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if e.gone {
		return ErrLost
	}
	return nil
}

// Resume makes an entry of an earlier process, as it was found in etcd, this one's: its value is
// replaced, so that nobody can do so again, and then its lease is kept alive here. ErrLost says that
// it is there no longer, or has changed.
func (q *Queue) Resume(ctx context.Context, found *KeyValue, value string) (*Entry, error) {
	e := &Entry{Key: string(found.Key), Revision: found.CreateRevision, Value: value, moved: make(chan struct{}, 1)}
	if !q.keeper.Claim(e.Key) {
		return nil, ErrLost // it is this process's own
	}
	put := clientv3.OpPut(e.Key, value, clientv3.WithLease(clientv3.LeaseID(found.Lease)))
	resp, err := q.cli.Txn(ctx).
		If(clientv3.Compare(clientv3.ModRevision(e.Key), "=", found.ModRevision)).
		Then(put, e.Kind.before(q.prefix, clientv3.WithMaxCreateRev(e.Revision))).Commit()
	if err == nil && !resp.Succeeded || errors.Is(err, rpctypes.ErrLeaseNotFound) {
		err = ErrLost
	}
	if err == nil {
		q.mu.Lock()
		q.order(e, resp.Responses[1].GetResponseRange().Kvs, resp.Header.Revision)
		if !e.clear() {
			err = ErrLost // it never had its turn, and ends with its lease
		}
		q.mu.Unlock()
	}
	if err == nil {
		e.Lease, err = q.keeper.Adopt(ctx, clientv3.LeaseID(found.Lease))
	}
	if err != nil {
		q.free(e)
		return nil, err
	}
	return e, nil
}

package queue

import (
	"context"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/ask"
)

// OnOthers calls f once another process is in the queue, too, or e is not there any more; unless ctx
// ends before. It is for an entry that is kept in the queue though this process does not need it now.
func (q *Queue) OnOthers(ctx context.Context, e *Entry, f func()) {
	q.Go(func() {
		ctx, cancel := ask.UntilDone(ctx, e.Lease.Done(), nil)
		defer cancel()
		defer context.AfterFunc(q.background, cancel)()
		for p := q.client.backoff(); ctx.Err() == nil; _ = p.Wait(ctx) {
			if q.watchForOthers(ctx, e) {
				if ctx.Err() == nil {
					f()
				}
				return
			}
		}
	})
}

// watchForOthers watches until it is known, or there is a reason to watch again.
func (q *Queue) watchForOthers(ctx context.Context, e *Entry) bool {
	came := make(chan struct{}, 1)
	w := q.client.watches.start(q.prefix, func(resp clientv3.WatchResponse) {
		for _, ev := range resp.Events {
			own := string(ev.Kv.Key) == e.Key
			if own && ev.Type == mvccpb.DELETE && ev.Kv.ModRevision > e.Revision || !own && ev.IsCreate() {
				select {
				case came <- struct{}{}:
				default:
				}
			}
		}
	}, func() {}, clientv3.WithPrefix())
	defer func() { <-w.done }()
	defer w.stop()
	if err := w.await(ctx); ctx.Err() != nil {
		return false
	} else if err != nil || !q.isAlone(ctx, e) { // what came before it was open
		return err == nil || !q.isAlone(ctx, e)
	}
	select {
	case <-came:
		return true
	case <-w.done:
	case <-ctx.Done():
	}
	return false
}

// isAlone tells whether the entry is known to be all there is in the queue.
func (q *Queue) isAlone(ctx context.Context, e *Entry) bool {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	got, err := q.cli.Get(ctx, q.prefix, clientv3.WithPrefix(), clientv3.WithKeysOnly(), clientv3.WithLimit(2))
	return err == nil && len(got.Kvs) == 1 && string(got.Kvs[0].Key) == e.Key
}

// Reread gives an entry that has its turn to the next caller of this process: what that wants to read
// is read, linearizably, as nothing in etcd says that the caller has changed.
func (q *Queue) Reread(ctx context.Context, e *Entry, wanted []clientv3.Op) error {
	v := q.lockView()
	deleted := e.deleted
	e.Wanted, e.Reads = wanted, nil
	v.mu.Unlock()
	switch {
	case deleted:
		return lostBy(errKeyDeleted)
	case len(wanted) == 0:
		return nil
	}
	if err := q.readAhead(ctx, e, linearizable); err != nil {
		return err
	}
	if q.Deleted(e) {
		return ErrLost
	}
	return nil
}

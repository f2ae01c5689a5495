package queue

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// OnOthers calls f once another process is in the queue beside e, or e is not there any more; unless
// ctx ends before. It is for an entry that is kept in the queue though nobody needs it now.
func (q *Queue) OnOthers(ctx context.Context, e *Entry, f func()) {
	q.Go(func() {
		ctx, cancel := lifetime(ctx, e.Lease)
		defer cancel()
		defer context.AfterFunc(q.life, cancel)()
		for p := (pause{}); ctx.Err() == nil; p.wait(ctx) {
			if q.watchForOthers(ctx, e) {
				if ctx.Err() == nil {
					f()
				}
				return
			}
		}
	})
}

// watchForOthers watches until it is known, or there is a reason to watch anew.
func (q *Queue) watchForOthers(ctx context.Context, e *Entry) bool {
	came := make(chan struct{}, 1)
	q.mu.Lock()
	w := q.hub.watch(q.viewed(), q.prefix, func(resp clientv3.WatchResponse) {
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
	q.mu.Unlock()
	defer func() { <-w.done }()
	defer w.stop()
	if _, err := opened(ctx, []*watch{w}); ctx.Err() != nil {
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

// Reread makes an entry whose turn it is the next caller's of this process: what that wants to read
// is read, linearizably, as etcd has not heard of the change.
func (q *Queue) Reread(ctx context.Context, e *Entry, wanted []clientv3.Op) error {
	q.mu.Lock()
	gone := e.gone
	e.Wanted, e.Reads = wanted, nil
	q.mu.Unlock()
	switch {
	case gone:
		return ErrLost
	case len(wanted) == 0:
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

// Resume makes an entry of an earlier process, as it was found in etcd, this one's: in one step its
// value is replaced, so that nobody can do so again, and it goes on a lease of this process; the
// earlier one's, and what else is on it, ends as it would have. ErrLost says that it is there no
// longer, or has changed.
func (q *Queue) Resume(ctx context.Context, found *KeyValue, value string) (*Entry, error) {
	e := &Entry{Key: string(found.Key), Revision: found.CreateRevision, Value: value, said: value, moved: make(chan struct{}, 1)}
	release, ok := q.keeper.Claim(e.Key)
	if !ok {
		return nil, fmt.Errorf("%w: %s is this process's own", ErrLost, e.Key)
	}
	e.unclaim = release
	unheard := false // a try may have been carried out: then it is ours, and nobody else would remove it
	giveUp := func(err error) (*Entry, error) {
		if unheard {
			q.Remove(&Entry{Key: e.Key, Value: value, Lease: e.Lease, unclaim: release})
		} else {
			q.free(e)
		}
		return nil, err
	}
	for p := (pause{}); ; p.wait(ctx) {
		if ctx.Err() != nil {
			return giveUp(context.Cause(ctx))
		}
		l, err := q.keeper.Lease(ctx)
		if err != nil {
			return giveUp(err)
		}
		e.Lease = l
		done, err := q.takeOver(ctx, e, found.ModRevision)
		switch {
		case done:
			return e, nil
		case errors.Is(err, rpctypes.ErrLeaseNotFound):
			_ = l.Confirm(ctx) // its end is what matters, and Err tells
		case errors.Is(err, ErrLost), hopeless(err) != nil:
			return giveUp(err)
		default:
			unheard = unheard || !Refused(err)
		}
	}
}

// takeOver is one try.
func (q *Queue) takeOver(ctx context.Context, e *Entry, found int64) (done bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	resp, err := q.cli.Txn(ctx).
		If(clientv3.Compare(clientv3.ModRevision(e.Key), "=", found)).
		Then(clientv3.OpPut(e.Key, e.Value, clientv3.WithLease(e.Lease.ID()))).
		Else(clientv3.OpGet(e.Key)).Commit()
	if err != nil || resp.Succeeded {
		return err == nil, err
	}
	kvs := resp.Responses[0].GetResponseRange().Kvs
	if len(kvs) > 0 && string(kvs[0].Value) == e.Value && kvs[0].Lease == int64(e.Lease.ID()) {
		return true, nil // by an earlier try
	}
	return false, fmt.Errorf("%w: %s has changed meanwhile", ErrLost, e.Key)
}

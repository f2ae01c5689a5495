package queue

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/ask"
	"github.com/etcdkit/etcdkit/internal/quote"
)

// Resume makes an entry of an earlier process, as it was found in etcd, this one's: in one step its
// value is replaced, so that it can be resumed only once, and it goes on a lease of this process; the
// earlier one's, and what else is on it, ends as it would have. ErrLost says that it is there no
// longer, or has changed.
func (q *Queue) Resume(ctx context.Context, found *KeyValue, value string) (*Entry, error) {
	l, err := q.keeper.Lease(ctx)
	if err != nil {
		return nil, err
	}
	unclaim, ok := q.keeper.Claim(string(found.Key))
	if !ok {
		return nil, lostBy(fmt.Errorf("%s is this process's own", quote.Text(string(found.Key))))
	}
	e := &Entry{
		Key: string(found.Key), Revision: found.CreateRevision, Lease: l, Value: value, knownValue: value,
		unclaim: unclaim, woken: make(chan struct{}, 1),
	}
	unknown := false // a try may have been carried out: then the entry is this process's, and no other would remove it
	for p := q.client.backoff(); ; {
		done, err := q.tryResume(ctx, e, found.ModRevision)
		if done {
			return e, nil
		}
		leaseGone := errors.Is(err, rpctypes.ErrLeaseNotFound)
		if leaseGone {
			_ = e.Lease.Confirm(ctx) // its end is what matters, and Err tells
		}
		unknown = unknown || !errors.Is(err, ErrLost) && !ask.NotApplied(err)
		if leaseGone || !errors.Is(err, ErrLost) && !ask.Permanent(err) {
			if err = p.Wait(ctx); err == nil {
				l, err = q.keeper.Lease(ctx)
			}
			if err == nil {
				e.Lease = l
				continue
			}
		}
		if unknown {
			q.RemoveLater(&Entry{Key: e.Key, Value: value, Lease: e.Lease, unclaim: e.unclaim})
		} else {
			q.releaseKey(e)
		}
		return nil, err
	}
}

// tryResume is one try.
func (q *Queue) tryResume(ctx context.Context, e *Entry, found int64) (done bool, err error) {
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
	return false, lostBy(fmt.Errorf("%s has changed meanwhile", quote.Text(e.Key)))
}

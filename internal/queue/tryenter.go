package queue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// TryEnter brings the entry into the queue if it need not wait there. Otherwise it returns one that is
// in the way, and has written nothing; but of two that count, and come at the same time, one may have
// entered and left. It takes 2 s at most, in which a request that is not answered is sent again.
func (q *Queue) TryEnter(ctx context.Context, e *Entry) (inTheWay *KeyValue, err error) {
	if ctx.Err() != nil {
		q.releaseKey(e)
		return nil, context.Cause(ctx)
	}
	call, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	if e.Kind.Size > 0 {
		inTheWay, err = q.enterRoom(call, e)
	} else {
		inTheWay, err = q.enterFirst(call, e)
	}
	if errors.Is(err, rpctypes.ErrLeaseNotFound) {
		_ = e.Lease.Confirm(call) // its end is what matters, and Err tells
	}
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil { // which is not the caller's
		err = fmt.Errorf("no answer within %v", tryTimeout)
	}
	return inTheWay, err
}

// enterFirst is TryEnter for an entry that waits for all, or for all that do.
func (q *Queue) enterFirst(ctx context.Context, e *Entry) (inTheWay *KeyValue, err error) {
	cmps := []clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(e.Key), "=", 0)}
	others := []clientv3.Op{clientv3.OpGet(e.Key)}
	if e.Kind.Shared {
		for _, r := range exclusiveRanges(q.prefix) {
			cmps = append(cmps, clientv3.Compare(clientv3.CreateRevision(r[0]), "=", 0).WithRange(r[1]))
			others = append(others, clientv3.OpGet(r[0], clientv3.WithRange(r[1]), clientv3.WithSort(clientv3.SortByCreateRevision, clientv3.SortAscend), clientv3.WithLimit(1)))
		}
	} else {
		cmps = append(cmps, clientv3.Compare(clientv3.CreateRevision(q.prefix), "=", 0).WithPrefix())
		others = append(others, clientv3.OpGet(q.prefix, clientv3.WithFirstCreate()...))
	}
	resp, open, err := hedge(ctx, q.client, func(ctx context.Context, _ int) (*clientv3.TxnResponse, error) {
		return q.cli.Txn(ctx).If(cmps...).Then(q.putOps(e)...).Else(others...).Commit()
	})
	e.late.record(err, open)
	switch {
	case err != nil:
		q.endUnentered(e)
		return nil, err
	case resp.Succeeded:
		q.entered(e, resp.Header.Revision, resp.Responses)
		return nil, nil
	}
	var found []*KeyValue
	for _, r := range resp.Responses {
		found = append(found, r.GetResponseRange().Kvs...)
	}
	if own := resp.Responses[0].GetResponseRange().Kvs; len(own) > 0 {
		if string(own[0].Value) == e.Value { // an earlier try
			q.adopt(e, own[0])
			return nil, nil // none was ahead of it
		}
		q.leaveKeyToOrphan(e, own[0])
		return q.enterFirst(ctx, e) // which finds the orphan in the way until that is removed
	}
	q.endUnentered(e)
	slices.SortFunc(found, func(a, b *KeyValue) int { return cmp.Compare(a.CreateRevision, b.CreateRevision) })
	return found[0], nil
}

// enterRoom is TryEnter for an entry that counts: etcd compares no sums.
func (q *Queue) enterRoom(ctx context.Context, e *Entry) (inTheWay *KeyValue, err error) {
	resp, _, err := hedge(ctx, q.client, func(ctx context.Context, _ int) (clientv3.OpResponse, error) {
		return q.cli.Do(ctx, e.Kind.aheadOps(q.prefix)[0])
	})
	if err != nil {
		q.releaseKey(e)
		return nil, err
	}
	v := q.lockView()
	e.Revision = math.MaxInt64 // all are ahead
	all, _ := e.Kind.ahead(e, []*pb.ResponseOp{{Response: &pb.ResponseOp_ResponseRange{ResponseRange: (*pb.RangeResponse)(resp.Get())}}})
	e.place(v, all, false, resp.Get().Header.Revision)
	e.Revision = 0
	room := e.allowed()
	v.mu.Unlock()
	if !room {
		q.releaseKey(e)
		return q.readKey(ctx, all[0]), nil
	}
	if err := q.enter(ctx, e); err != nil {
		return nil, err
	}
	v.mu.Lock()
	allowed, last := e.allowed(), e.ahead.last
	v.mu.Unlock()
	if allowed {
		return nil, nil
	}
	q.RemoveLater(e)
	return q.readKey(ctx, &KeyValue{Key: []byte(last.key)}), nil
}

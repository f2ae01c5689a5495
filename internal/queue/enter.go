package queue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/ask"
	"github.com/etcdkit/etcdkit/internal/cause"
	"github.com/etcdkit/etcdkit/lease"
)

// mostEnter is how many transactions of a client may enter one queue at a time: each costs the member a
// walk of the queue, and a backlog of them would hold up the keepalives.
const mostEnter = 16

// errCrowded: the call had no place among the mostEnter before its context ended.
var errCrowded = fmt.Errorf("nothing was sent, as %d other calls of this client were entering the queue", mostEnter)

// lateWrite is what is known of an entry's writes that were not answered.
type lateWrite struct {
	mayExist     bool      // one is under way, or was: the entry may be in etcd
	unansweredAt time.Time // when one was given up that may still be carried out; zero: never
}

// lateness bounds the time in which etcd may carry out a write after its caller gave up: etcd gives up
// after 7 s.
const lateness = 10 * time.Second

// record records how a write ended. open tells that another try of it may still be carried out.
func (l *lateWrite) record(err error, open bool) {
	if open || err != nil && !ask.NotApplied(err) {
		*l = lateWrite{true, time.Now()}
	}
}

// pending tells whether one may still be carried out.
func (l *lateWrite) pending() bool {
	return !l.unansweredAt.IsZero() && time.Since(l.unansweredAt) <= lateness
}

// Reach brings an entry to the end of the queue, unless e has a place there, and waits until it is
// its turn. prepare makes entries on a live lease.
func (q *Queue) Reach(ctx context.Context, e *Entry, prepare func(*lease.Lease) *Entry) (*Entry, error) {
	for e == nil || e.Revision == 0 { // or the transaction that was to bring it there was not answered
		if e == nil {
			l, err := q.keeper.Lease(ctx)
			if err != nil {
				return nil, err
			}
			e = prepare(l)
		}
		switch err := q.enter(ctx, e); {
		case errors.Is(err, ErrLost):
			e = nil // it had no place to lose yet
		case err != nil:
			return nil, err
		}
	}
	return e, q.Await(ctx, e)
}

// enter brings the entry to the end of the queue. The nonce in its value tells what became of a try
// without an answer. When ctx ends first, the entry is removed in the background.
func (q *Queue) enter(ctx context.Context, e *Entry) (err error) {
	defer func() {
		if err != nil {
			q.withdraw(e)
		}
	}()
	p := q.client.backoff()
	for {
		if err := e.Lease.Err(); err != nil {
			return lostBy(err)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		done, err := q.put(ctx, e)
		switch {
		case done:
			return nil
		case err == nil:
			continue // under another key
		case errors.Is(err, rpctypes.ErrLeaseNotFound):
			_ = e.Lease.Confirm(ctx) // its end is what matters, and Err tells
		case ask.Permanent(err), errors.Is(err, errCrowded):
			return err
		}
		if end := p.Wait(ctx); end != nil && ask.TimeIsUp(err) {
			return cause.Errorf("no answer: %w", end)
		} else if end != nil {
			return cause.Errorf("%w; last: %w", end, err)
		}
	}
}

// withdraw ends an entry that did not enter, as far as is known.
func (q *Queue) withdraw(e *Entry) {
	if e.late.mayExist || e.Revision != 0 {
		q.Remove(e)
	} else {
		q.releaseKey(e)
	}
}

// put is one try of enter.
func (q *Queue) put(ctx context.Context, e *Entry) (done bool, err error) {
	v := q.view()
	select {
	case v.entering <- struct{}{}:
	case <-ctx.Done():
		return false, cause.Errorf("%w: %w", errCrowded, context.Cause(ctx))
	}
	resp, open, err := hedge(ctx, q.client, func(ctx context.Context, _ int) (*clientv3.TxnResponse, error) {
		return q.cli.Txn(ctx).
			If(clientv3.Compare(clientv3.CreateRevision(e.Key), "=", 0)).
			Then(q.putOps(e)...).
			Else(clientv3.OpGet(e.Key)).Commit()
	})
	<-v.entering
	e.late.record(err, open)
	if err != nil {
		return false, err
	}
	if resp.Succeeded {
		q.entered(e, resp.Header.Revision, resp.Responses)
		return true, nil
	}
	found := resp.Responses[0].GetResponseRange().Kvs[0]
	if e.Kind.Unique || string(found.Value) == e.Value { // an earlier try
		q.adopt(e, found)
		err := q.readAhead(ctx, e, resp.Header.Revision)
		return err == nil, err
	}
	q.leaveKeyToOrphan(e, found)
	return false, nil
}

// leaveKeyToOrphan gives the entry another key, as an orphan of this process has its own: a write that came
// long after its caller had gone. The orphan is removed.
func (q *Queue) leaveKeyToOrphan(e *Entry, found *KeyValue) {
	orphan := q.passKey(e)
	orphan.Revision, orphan.Value = found.CreateRevision, string(found.Value)
	q.claimKey(e)
	q.Remove(orphan)
}

// putOps bring an entry to the end of the queue and read which entries are ahead.
func (q *Queue) putOps(e *Entry) []clientv3.Op {
	ops := append([]clientv3.Op{clientv3.OpPut(e.Key, e.Value, clientv3.WithLease(e.Lease.ID()))}, e.Kind.readAhead(q.prefix)...)
	return append(ops, e.Wanted...)
}

// entered records the answers to putOps.
func (q *Queue) entered(e *Entry, revision int64, answers []*pb.ResponseOp) {
	v := q.lockView()
	defer v.mu.Unlock()
	e.Revision, e.deleted, e.knownValue = revision, false, e.Value
	n := 1 + e.Kind.reads()
	kvs, partial := e.Kind.ahead(e, answers[1:n])
	e.place(v, kvs, partial, revision)
	e.Reads = rangesOf(answers[n:])
	v.local[e.id()] = e
}

// adopt records that an entry which an earlier try brought to etcd is this one.
func (q *Queue) adopt(e *Entry, found *KeyValue) {
	v := q.lockView()
	defer v.mu.Unlock()
	e.Revision, e.knownValue = found.CreateRevision, e.Value
	v.local[e.id()] = e
}

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
		q.withdraw(e)
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
		return q.enterFirst(ctx, e) // which finds the orphan in the way as long as others would
	}
	q.withdraw(e)
	slices.SortFunc(found, func(a, b *KeyValue) int { return cmp.Compare(a.CreateRevision, b.CreateRevision) })
	return found[0], nil
}

// enterRoom is TryEnter for an entry that counts: etcd compares no sums.
func (q *Queue) enterRoom(ctx context.Context, e *Entry) (inTheWay *KeyValue, err error) {
	resp, _, err := hedge(ctx, q.client, func(ctx context.Context, _ int) (clientv3.OpResponse, error) {
		return q.cli.Do(ctx, e.Kind.readAhead(q.prefix)[0])
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
		return q.readKey(ctx, all[len(all)-1]), nil
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
	q.Remove(e)
	return q.readKey(ctx, &KeyValue{Key: []byte(last.key)}), nil
}

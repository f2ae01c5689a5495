package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/ask"
	"github.com/etcdkit/etcdkit/internal/errtext"
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
			q.endUnentered(e)
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
			return errtext.Errorf("no answer: %w", end)
		} else if end != nil {
			return errtext.Errorf("%w; last: %w", end, err)
		}
	}
}

// endUnentered ends an entry that did not enter, as far as is known.
func (q *Queue) endUnentered(e *Entry) {
	if e.late.mayExist || e.Revision != 0 {
		q.RemoveLater(e)
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
		return false, errtext.Errorf("%w: %w", errCrowded, context.Cause(ctx))
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
	q.RemoveLater(orphan)
}

// putOps bring an entry to the end of the queue and read which entries are ahead.
func (q *Queue) putOps(e *Entry) []clientv3.Op {
	ops := append([]clientv3.Op{clientv3.OpPut(e.Key, e.Value, clientv3.WithLease(e.Lease.ID()))}, e.Kind.aheadOps(q.prefix)...)
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

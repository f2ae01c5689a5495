package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/ask"
	"github.com/etcdkit/etcdkit/internal/errtext"
)

// leaveTimeout bounds a Leave whose context has no end.
const leaveTimeout = 10 * time.Second

// leave deletes an entry and applies ops in the same transaction, if the entry is still there, and
// brings next, if there is one, to the end of the queue. ErrLost says that the entry was not there, and
// that this try applied nothing. Of any other error resolveLeave finds out what it means.
func (q *Queue) leave(ctx context.Context, e *Entry, ops []clientv3.Op, next *Entry) (*clientv3.TxnResponse, error) {
	cmps := []clientv3.Cmp{e.Guard()}
	then := append(ops[:len(ops):len(ops)], clientv3.OpDelete(e.Key))
	if next != nil {
		next.late.mayExist = true
		cmps = append(cmps, clientv3.Compare(clientv3.CreateRevision(next.Key), "=", 0))
		then = append(then, q.putOps(next)...)
	}
	try, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	defer context.AfterFunc(q.leases, cancel)()
	resp, err := q.cli.Txn(try).If(cmps...).Then(then...).Else(clientv3.OpGet(e.Key, clientv3.WithKeysOnly())).Commit()
	if err != nil {
		if next != nil && ask.NotApplied(err) {
			return q.leave(ctx, e, ops, nil) // it may be for what the next one wants
		}
		return nil, err
	}
	q.answers.Add(1)
	if !resp.Succeeded {
		if next != nil && has(resp.Responses[0], e.Revision) {
			return q.leave(ctx, e, ops, nil) // next's key is not free: it has to find another
		}
		q.endDeleted(e)
		return nil, ErrLost
	}
	q.endDeleted(e)
	if next != nil {
		q.entered(next, resp.Header.Revision, resp.Responses[len(ops)+1:])
	}
	return resp, nil
}

// resolveRepeat finds out whether a leave that found the entry deleted was the second of its kind:
// clientv3 sends a transaction again, without a word, when it ended as if its context had. The error is
// ErrUnknown when history does not tell whether ops were applied.
func (q *Queue) resolveRepeat(ctx context.Context, e *Entry, ops []clientv3.Op) (*clientv3.TxnResponse, error) {
	if len(ops) == 0 {
		return nil, ErrLost
	}
	ctx, cancel := q.client.etcd.WhileOpen(ctx)
	defer cancel()
	resp, known, err := q.findDeletion(ctx, e, ops)
	switch {
	case known:
		return resp, err
	case err != nil:
		return nil, errtext.Errorf("%w: %w", ErrUnknown, err)
	}
	return nil, errtext.Errorf("%w: etcd's history does not tell (%w)", ErrUnknown, errKeyDeleted)
}

// resolveLeave finds out what has become of a leave with ops that ended with cause, or does it again. It
// is known when done, with ErrLost where the entry was gone before. A cause that says that ops
// cannot be applied is returned when the entry was deleted without them. When ctx ends before,
// the error is ErrUnknown if ops may have been applied.
func (q *Queue) resolveLeave(ctx context.Context, e *Entry, ops []clientv3.Op, why error) (resp *clientv3.TxnResponse, done bool, err error) {
	ctx, cancel := q.client.etcd.WhileOpen(ctx)
	defer cancel()
	unknown := !ask.NotApplied(why) // whether ops may have been applied
	var bad error                   // why they cannot be
	giveUp := func(err error) (*clientv3.TxnResponse, bool, error) {
		if unknown && len(ops) > 0 {
			err = errtext.Errorf("%w: %w", ErrUnknown, err)
		}
		return nil, false, err
	}
	if ask.Permanent(why) {
		bad = why
	}
	for p := q.client.backoff(); ; _ = p.Wait(ctx) {
		if err := context.Cause(ctx); err != nil {
			end := ctx.Err()
			if !errors.Is(end, err) { // What ended ctx is told, but not as what this error is: it may be another lock's loss.
				end = fmt.Errorf("%w (%s)", end, errtext.Text(err))
			}
			if ask.TimeIsUp(why) {
				return giveUp(errtext.Errorf("no answer: %w", end))
			}
			return giveUp(errtext.Errorf("%w; last: %w", end, why))
		}
		try := ops
		if bad != nil {
			try = nil
		}
		resp, err := q.leave(ctx, e, try, nil)
		lost := errors.Is(err, ErrLost)
		switch {
		case err == nil && (bad == nil || len(ops) == 0):
			return resp, true, nil
		case err == nil, lost && !unknown && bad != nil:
			return nil, true, bad // with the entry there, or deleted by a try without ops, they were not
		case lost && len(ops) == 0:
			return emptyResponse(0, nil), true, nil // by the try that was not answered, or otherwise
		case lost && !unknown:
			return nil, true, err
		case lost:
			resp, known, err := q.findDeletion(ctx, e, ops)
			if known {
				return resp, true, err
			}
			if err == nil {
				return giveUp(why)
			}
			why = err
		default:
			unknown = unknown || len(try) > 0 && !ask.NotApplied(err)
			if ask.Permanent(err) {
				bad = err
			}
			why = err
		}
	}
}

// emptyResponse is the answer to a transaction whose own was lost.
func emptyResponse(revision int64, ops []clientv3.Op) *clientv3.TxnResponse {
	resp := &clientv3.TxnResponse{Header: &pb.ResponseHeader{Revision: revision}, Succeeded: true}
	for _, op := range ops {
		r := &pb.ResponseOp{}
		switch {
		case op.IsPut():
			r.Response = &pb.ResponseOp_ResponsePut{ResponsePut: &pb.PutResponse{}}
		case op.IsDelete():
			r.Response = &pb.ResponseOp_ResponseDeleteRange{ResponseDeleteRange: &pb.DeleteRangeResponse{}}
		case op.IsGet():
			r.Response = &pb.ResponseOp_ResponseRange{ResponseRange: &pb.RangeResponse{}}
		}
		resp.Responses = append(resp.Responses, r)
	}
	return resp
}

// findDeletion looks in etcd's history for the transaction that deleted the entry. If it was the one that was not
// answered, one of its puts has the same revision.
func (q *Queue) findDeletion(ctx context.Context, e *Entry, ops []clientv3.Op) (resp *clientv3.TxnResponse, known bool, err error) {
	var put *clientv3.Op
	for i := range ops {
		if ops[i].IsPut() {
			put = &ops[i]
		}
	}
	if put == nil {
		return nil, false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	for history := range q.cli.Watch(ctx, e.Key, clientv3.WithRev(e.Revision+1), clientv3.WithFilterPut()) {
		if err := history.Err(); err != nil {
			return nil, false, nil // compacted: it cannot be known any more
		}
		for _, ev := range history.Events {
			at := ev.Kv.ModRevision
			got, err := q.cli.Get(ctx, string(put.KeyBytes()), clientv3.WithRev(at))
			if err != nil {
				return nil, false, err
			}
			if len(got.Kvs) > 0 && got.Kvs[0].ModRevision == at {
				return emptyResponse(at, ops), true, nil
			}
			return nil, true, ErrLost
		}
	}
	return nil, false, ctx.Err()
}

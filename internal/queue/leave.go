package queue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/etcdkit/etcdkit/internal/ask"
)

// KeyValue is an entry as etcd has it.
type KeyValue = mvccpb.KeyValue

// TryEnter brings the entry into the queue if it need not wait there. Otherwise it returns who is
// in the way, and has written nothing; but of two that count, and come at the same time, one may have
// entered and left. It takes 2 s at most, in which a request that is not answered is sent again.
func (q *Queue) TryEnter(ctx context.Context, e *Entry) (inTheWay *KeyValue, err error) {
	if ctx.Err() != nil {
		q.free(e)
		return nil, context.Cause(ctx)
	}
	call, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	if e.Kind.Size > 0 {
		inTheWay, err = q.enterRoom(call, e)
	} else {
		inTheWay, err = q.enterFirst(call, e)
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
		for _, r := range unshared(q.prefix) {
			cmps = append(cmps, clientv3.Compare(clientv3.CreateRevision(r[0]), "=", 0).WithRange(r[1]))
			others = append(others, clientv3.OpGet(r[0], clientv3.WithRange(r[1]), clientv3.WithSort(clientv3.SortByCreateRevision, clientv3.SortAscend), clientv3.WithLimit(1)))
		}
	} else {
		cmps = append(cmps, clientv3.Compare(clientv3.CreateRevision(q.prefix), "=", 0).WithPrefix())
		others = append(others, clientv3.OpGet(q.prefix, clientv3.WithFirstCreate()...))
	}
	resp, more, err := hedge(ctx, q.hub, func(ctx context.Context) (*clientv3.TxnResponse, error) {
		return q.cli.Txn(ctx).If(cmps...).Then(q.put(e)...).Else(others...).Commit()
	})
	if more {
		e.sent, e.unheard = true, time.Now()
	}
	switch {
	case err != nil && Refused(err) && !more:
		q.free(e)
		return nil, err
	case err != nil:
		q.Remove(e) // it may be there
		return nil, err
	case resp.Succeeded:
		q.entered(e, resp.Header.Revision, resp.Responses)
		return nil, nil
	}
	var found []*KeyValue
	for _, r := range resp.Responses {
		found = append(found, r.GetResponseRange().Kvs...)
	}
	if own := resp.Responses[0].GetResponseRange().Kvs; len(own) > 0 && string(own[0].Value) == e.Value { // an earlier try
		e.Revision, e.said = own[0].CreateRevision, e.Value
		return nil, nil // nobody was there
	}
	if more { // it may come yet
		q.Remove(e)
	} else {
		q.free(e)
	}
	slices.SortFunc(found, func(a, b *KeyValue) int { return cmp.Compare(a.CreateRevision, b.CreateRevision) })
	return found[0], nil
}

// enterRoom is TryEnter for an entry that counts: etcd compares no sums.
func (q *Queue) enterRoom(ctx context.Context, e *Entry) (inTheWay *KeyValue, err error) {
	resp, _, err := hedge(ctx, q.hub, func(ctx context.Context) (clientv3.OpResponse, error) {
		return q.cli.Do(ctx, e.Kind.before(q.prefix)[0])
	})
	if err != nil {
		q.free(e)
		return nil, err
	}
	q.mu.Lock()
	e.Revision = math.MaxInt64 // all are ahead
	all, _ := e.Kind.ahead(e, []*pb.ResponseOp{{Response: &pb.ResponseOp_ResponseRange{ResponseRange: (*pb.RangeResponse)(resp.Get())}}})
	e.place(q.viewed(), all, false, resp.Get().Header.Revision)
	e.Revision = 0
	room := e.clear()
	q.mu.Unlock()
	if !room {
		q.free(e)
		return q.read(ctx, all[len(all)-1])
	}
	if err := q.Enter(ctx, e); err != nil {
		return nil, err
	}
	q.mu.Lock()
	clear, last := e.clear(), e.last
	q.mu.Unlock()
	if clear {
		return nil, nil
	}
	q.Remove(e)
	return q.read(ctx, &KeyValue{Key: []byte(last.key)})
}

// read is a key with its value, or as it is known if it is gone.
func (q *Queue) read(ctx context.Context, known *KeyValue) (*KeyValue, error) {
	resp, err := q.cli.Get(ctx, string(known.Key))
	if err != nil || len(resp.Kvs) == 0 {
		return known, nil
	}
	return resp.Kvs[0], nil
}

// Leave deletes an entry and applies ops in the same transaction, if the entry is still there,
// and brings next, if there is one, to the end of the queue. ErrLost says that the entry was not
// there, and that nothing was applied. Of any other error Settle finds out what it means.
func (q *Queue) Leave(ctx context.Context, e *Entry, ops []clientv3.Op, next *Entry) (*clientv3.TxnResponse, error) {
	cmps := []clientv3.Cmp{e.Guard()}
	then := append(ops[:len(ops):len(ops)], clientv3.OpDelete(e.Key))
	if next != nil {
		next.sent = true
		cmps = append(cmps, clientv3.Compare(clientv3.CreateRevision(next.Key), "=", 0))
		then = append(then, q.put(next)...)
	}
	try, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	resp, err := q.cli.Txn(try).If(cmps...).Then(then...).Else(clientv3.OpGet(e.Key, clientv3.WithKeysOnly())).Commit()
	if err != nil {
		if next != nil && Refused(err) {
			return q.Leave(ctx, e, ops, nil) // it may be for what the next one wants
		}
		return nil, err
	}
	q.answers.Add(1)
	if !resp.Succeeded {
		if kvs := resp.Responses[0].GetResponseRange().Kvs; next != nil && len(kvs) > 0 && kvs[0].CreateRevision == e.Revision {
			return q.Leave(ctx, e, ops, nil) // next's key is not free: it has to find another
		}
		q.retire(e)
		return nil, ErrLost
	}
	q.retire(e)
	if next != nil {
		q.entered(next, resp.Header.Revision, resp.Responses[len(ops)+1:])
	}
	return resp, nil
}

// repeated finds out whether a Leave that found the entry gone was the second of its kind: clientv3
// sends a transaction again, without a word, when it ended as if its context had.
func (q *Queue) repeated(ctx context.Context, e *Entry, ops []clientv3.Op) (*clientv3.TxnResponse, error) {
	resp, known, err := q.trace(ctx, e, ops)
	switch {
	case known:
		return resp, err
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	return nil, ErrLost
}

// ErrUnknown: whether ops were applied cannot be found out.
var ErrUnknown = errors.New("outcome unknown")

// Settle finds out what has become of a Leave with ops that ended with cause, or does it again. It
// is known when done, with ErrLost where the entry was gone before. A cause that says that ops
// cannot be applied is returned when the entry was deleted without them. When ctx ends before,
// the error is ErrUnknown if ops may have been applied.
func (q *Queue) Settle(ctx context.Context, e *Entry, ops []clientv3.Op, cause error) (resp *clientv3.TxnResponse, done bool, err error) {
	unknown, bad := !Refused(cause), hopeless(cause) // whether ops may have been applied; why they cannot be
	giveUp := func(err error) (*clientv3.TxnResponse, bool, error) {
		if unknown && len(ops) > 0 {
			err = fmt.Errorf("%w: %w", ErrUnknown, err)
		}
		return nil, false, err
	}
	for p := (pause{}); ; p.wait(ctx) {
		if err := context.Cause(ctx); err != nil {
			end := ctx.Err()
			if !errors.Is(end, err) { // What ended ctx is told, but not as what this error is: it may be another lock's loss.
				end = fmt.Errorf("%w (%v)", end, err)
			}
			if ask.TimeIsUp(cause) {
				return giveUp(fmt.Errorf("no answer: %w", end))
			}
			return giveUp(fmt.Errorf("%w; last: %w", end, cause))
		}
		try := ops
		if bad != nil {
			try = nil
		}
		resp, err := q.Leave(ctx, e, try, nil)
		lost := errors.Is(err, ErrLost)
		switch {
		case err == nil && (bad == nil || len(ops) == 0):
			return resp, true, nil
		case err == nil, lost && !unknown && bad != nil:
			return nil, true, bad // with the entry there, or deleted by a try without ops, they were not
		case lost && len(ops) == 0:
			return settled(0, nil), true, nil // by the try that was not answered, or otherwise
		case lost && !unknown:
			return nil, true, err
		case lost:
			resp, known, err := q.trace(ctx, e, ops)
			if known {
				return resp, true, err
			}
			if err == nil {
				return giveUp(cause)
			}
			cause = err
		default:
			unknown = unknown || len(try) > 0 && !Refused(err)
			if refusal := hopeless(err); refusal != nil {
				bad = refusal
			}
			cause = err
		}
	}
}

// hopeless is a cause that will not go away, or nil.
func hopeless(cause error) error {
	if Refused(cause) && !errors.Is(cause, rpctypes.ErrTooManyRequests) {
		return cause
	}
	return nil
}

// settled is the answer to a transaction whose own was lost.
func settled(revision int64, ops []clientv3.Op) *clientv3.TxnResponse {
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

// trace looks in etcd's history for who deleted the entry. If it was the transaction that was not
// answered, one of its puts has the same revision.
func (q *Queue) trace(ctx context.Context, e *Entry, ops []clientv3.Op) (resp *clientv3.TxnResponse, known bool, err error) {
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
			return nil, false, nil // compacted: nobody knows any more
		}
		for _, ev := range history.Events {
			at := ev.Kv.ModRevision
			got, err := q.cli.Get(ctx, string(put.KeyBytes()), clientv3.WithRev(at))
			if err != nil {
				return nil, false, err
			}
			if len(got.Kvs) > 0 && got.Kvs[0].ModRevision == at {
				return settled(at, ops), true, nil
			}
			return nil, true, ErrLost
		}
	}
	return nil, false, ctx.Err()
}

// Refused tells whether the error says for certain that nothing was written.
func Refused(err error) bool {
	var etcd rpctypes.EtcdError
	if !errors.As(err, &etcd) {
		return strings.Contains(status.Convert(err).Message(), "trying to send message larger than max") // gRPC, here
	}
	switch etcd.Code() {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled, codes.Unknown, codes.Internal, codes.ResourceExhausted:
		return errors.Is(err, rpctypes.ErrNoSpace) || errors.Is(err, rpctypes.ErrTooManyRequests)
	}
	return true
}

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
	"github.com/etcdkit/etcdkit/internal/quote"
)

// Detach ends the hold in this process, and leaves its entry in etcd with another value, on a lease of its
// own that nothing renews, which it returns. It takes until ctx ends, and 10 s at most.
//
// After an error the entry is removed, and the lease revoked, in the background, for as long as the Keeper
// lives. With the package's Unknown the entry may stand on that lease until then.
func (h *Hold) Detach(ctx context.Context, ttl time.Duration, value string) (clientv3.LeaseID, error) {
	if lost := h.Err(); lost != nil {
		h.q.endLost(h.entry)
		return 0, lost
	}
	ctx, cancel := context.WithTimeout(ctx, leaveTimeout)
	defer cancel()
	id, _, err := h.q.Grant(ctx, ttl)
	if err == nil {
		if err = h.q.move(ctx, h.entry, id, value); err != nil {
			h.q.RevokeLater(id)
		}
	}
	switch {
	case errors.Is(err, ErrLost):
		h.q.endDeleted(h.entry) // it is gone, or another process's
		return 0, h.lose(err)
	case err != nil:
		h.q.RemoveLater(h.entry)
		h.EndHere()
		if errors.Is(err, ErrUnknown) {
			return id, errtext.Errorf("%w (release what was returned, to be sure that it is not held): %w", h.errs.Unknown, err)
		}
		return 0, err
	}
	v := h.q.lockView()
	h.entry.endHere(v) // its key stays taken for as long as the Keeper lives
	v.mu.Unlock()
	h.EndHere()
	return id, nil
}

// move puts an entry on another lease, with another value. ErrLost: it is gone, or another process has it.
// ErrUnknown: a try that was not answered may have moved it, or may still do so.
//
// The transaction compares the lease, too: a try that is carried out late would otherwise take the entry
// back from a process that has resumed it meanwhile. The entry cannot be on this lease again, as its key
// stays taken.
func (q *Queue) move(ctx context.Context, e *Entry, to clientv3.LeaseID, value string) error {
	resp, unsure, err := persist(ctx, q.client, func(ctx context.Context, _ int) (*clientv3.TxnResponse, error) {
		return q.cli.Txn(ctx).
			If(e.Guard(), clientv3.Compare(clientv3.LeaseValue(e.Key), "=", e.Lease.ID())).
			Then(clientv3.OpPut(e.Key, value, clientv3.WithLease(to))).
			Else(clientv3.OpGet(e.Key)).Commit()
	})
	switch {
	case err == nil && !resp.Succeeded:
		return movedBefore(e, to, resp.Responses[0])
	case err != nil && unsure:
		return errtext.Errorf("%w: %w", ErrUnknown, err)
	}
	return err
}

// movedBefore is nil if an entry that is not on its own lease is on that to which an earlier try was to move
// it.
func movedBefore(e *Entry, to clientv3.LeaseID, found *pb.ResponseOp) error {
	if !has(found, e.Revision) {
		return lostBy(errKeyDeleted)
	}
	if found.GetResponseRange().Kvs[0].Lease != int64(to) {
		return lostBy(fmt.Errorf("%s was taken over by another process", quote.Text(e.Key)))
	}
	return nil
}

// renewOnce has a lease begin again, and tells how long it lives then. ErrLost: it is gone. It takes 2 s at most.
func renewOnce(ctx context.Context, cli *clientv3.Client, id clientv3.LeaseID) (time.Duration, error) {
	ttl, _, err := hedge(ctx, clientOf(cli), func(ctx context.Context, _ int) (int64, error) {
		return ask.RenewLease(ctx, pb.NewLeaseClient(cli.ActiveConnection()), id)
	})
	switch {
	case errors.Is(err, rpctypes.ErrLeaseNotFound), err == nil && ttl <= 0:
		return 0, ErrLost
	case err != nil:
		return 0, err
	}
	return time.Duration(ttl) * time.Second, nil
}

package queue

import (
	"context"
	"errors"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/ask"
)

// Grant grants a lease of whole seconds that nothing renews, and tells how long etcd lets it live: that is
// more where etcd's minimum is. The id is chosen here, so that a request that is sent again asks for the
// same lease. Grant tries until ctx ends. After an error nothing uses the lease: if etcd may have granted it
// all the same, it is revoked in the background, as RevokeLater does.
func (q *Queue) Grant(ctx context.Context, ttl time.Duration) (clientv3.LeaseID, time.Duration, error) {
	id, seconds := ask.NewLeaseID(), int64(ttl/time.Second)
	granted, unsure, err := persist(ctx, q.client, func(ctx context.Context, _ int) (int64, error) {
		granted, err := ask.GrantLease(ctx, pb.NewLeaseClient(q.cli.ActiveConnection()), id, seconds)
		if errors.Is(err, rpctypes.ErrLeaseExist) { // by an earlier try
			return seconds, nil
		}
		return granted, err
	})
	if err == nil {
		return id, time.Duration(granted) * time.Second, nil
	}
	if unsure {
		q.revokeLater(id, lateness)
	}
	return 0, 0, err
}

// RevokeLater revokes a lease that Grant granted, in the background, for as long as the Keeper lives. What
// is on it is gone then, and no write that was not answered can put anything on it. Shutdown waits for that,
// until its context ends.
func (q *Queue) RevokeLater(id clientv3.LeaseID) { q.revokeLater(id, 0) }

// revokeLater goes on for as long as etcd may still grant the lease. Shutdown waits for the first answer.
func (q *Queue) revokeLater(id clientv3.LeaseID, late time.Duration) {
	q.revocations.add()
	answered := sync.OnceFunc(q.revocations.done)
	going := ask.BackgroundOf(q.keeper).Go(func(ctx context.Context) { // ends with the lease, the Keeper, or the client
		defer answered()
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(q.cli.Ctx(), cancel)()
		began := time.Now()
		for p := q.client.backoff(); ctx.Err() == nil; _ = p.Wait(ctx) {
			err := q.Revoke(ctx, id)
			if err == nil {
				q.answers.Add(1)
				answered()
			}
			if err == nil && time.Since(began) >= late || ask.Permanent(err) {
				return
			}
		}
	})
	if !going {
		answered()
	}
}

// Revoke ends a lease that Grant granted, with all that is on it. It takes 2 s at most. A lease that is
// gone is no error.
func (q *Queue) Revoke(ctx context.Context, id clientv3.LeaseID) error {
	return revoke(ctx, q.client, id)
}

func revoke(ctx context.Context, c *client, id clientv3.LeaseID) error {
	_, _, err := hedge(ctx, c, func(ctx context.Context, _ int) (*pb.LeaseRevokeResponse, error) {
		resp, err := pb.NewLeaseClient(c.cli.ActiveConnection()).LeaseRevoke(clientv3.WithRequireLeader(ctx), &pb.LeaseRevokeRequest{ID: int64(id)})
		return resp, rpctypes.Error(err)
	})
	if errors.Is(err, rpctypes.ErrLeaseNotFound) {
		return nil
	}
	return err
}

// Remaining asks how long a lease lives if nothing renews it: at most so long, as etcd says it in whole
// seconds. 0: it is gone. It takes 2 s at most.
func (q *Queue) Remaining(ctx context.Context, id clientv3.LeaseID) (time.Duration, error) {
	resp, _, err := hedge(ctx, q.client, func(ctx context.Context, _ int) (*clientv3.LeaseTimeToLiveResponse, error) {
		return q.cli.TimeToLive(ctx, id)
	})
	if err != nil {
		return 0, err
	}
	return time.Duration(resp.TTL+1) * time.Second, nil // -1 for one that is gone
}

// Get reads a key as it is now. It takes 2 s at most. nil: there is no such key.
func (q *Queue) Get(ctx context.Context, key string) (*KeyValue, error) {
	resp, _, err := hedge(ctx, q.client, func(ctx context.Context, _ int) (*clientv3.GetResponse, error) {
		return q.cli.Get(ctx, key)
	})
	if err != nil || len(resp.Kvs) == 0 {
		return nil, err
	}
	return resp.Kvs[0], nil
}

package inventory

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/ask"
	"github.com/etcdkit/etcdkit/internal/errtext"
)

// list are the ids of all leases, in their order.
//
// A member lists the leases that it knows of, and one that is behind does not know the latest. So one connection
// carries two requests: a linearizable read, after which the member knows of every lease granted before, and the list.
func (r *reader) list(ctx context.Context) ([]clientv3.LeaseID, error) {
	endpoints := r.cli.Endpoints()
	h := ask.Hedge[*pb.LeaseLeasesResponse]{
		Outages: ask.Of(r.cli), Timeout: requestTimeout, Most: 2 * len(endpoints),
		Silence: func(int) time.Duration { return silence },
		Pause:   func(int, error) time.Duration { return 0 },
		Try: func(ctx context.Context, n int) (*pb.LeaseLeasesResponse, error) {
			endpoint := endpoints[n%len(endpoints)]
			resp, err := r.listAt(ctx, endpoint)
			if err != nil && !ask.IsAnswer(err) {
				err = &ask.EndpointError{Endpoint: endpoint, Err: err}
			}
			return resp, err
		},
	}
	resp, _, err := h.Run(ctx)
	if err != nil {
		return nil, err
	}
	ids := make([]clientv3.LeaseID, 0, len(resp.Leases))
	for _, l := range resp.Leases {
		ids = append(ids, clientv3.LeaseID(l.ID))
	}
	slices.Sort(ids)
	return ids, nil
}

func (r *reader) listAt(ctx context.Context, endpoint string) (*pb.LeaseLeasesResponse, error) {
	conn, leave, err := ask.Of(r.cli).Conn(endpoint)
	if err != nil {
		return nil, err
	}
	defer leave()
	ctx = clientv3.WithRequireLeader(ctx)
	_, err = pb.NewKVClient(conn).Range(ctx, &pb.RangeRequest{Key: []byte{0}, KeysOnly: true})
	if err = rpctypes.Error(err); err != nil && err != rpctypes.ErrPermissionDenied { // which comes after the wait
		return nil, err
	}
	resp, err := pb.NewLeaseClient(conn).LeaseLeases(ctx, &pb.LeaseLeasesRequest{})
	return resp, rpctypes.Error(err)
}

// lookUp asks for the remaining time and the keys of leases. One that has ended is left out.
func (r *reader) lookUp(ctx context.Context, ids []clientv3.LeaseID) error {
	var mu sync.Mutex
	var found []*Lease
	err := r.each(ctx, len(ids), func(ctx context.Context, i int) error {
		l, err := r.lookUpOne(ctx, ids[i])
		if err != nil {
			return errtext.Errorf("look up lease %s: %w", leaseText(ids[i]), err)
		}
		if l != nil {
			mu.Lock()
			found = append(found, l)
			mu.Unlock()
		}
		return nil
	})
	slices.SortFunc(found, func(a, b *Lease) int { return cmp.Compare(a.ID, b.ID) })
	r.leases = found
	return err
}

// lookUpOne returns no lease if there is none. Its keys are not known if the user may not read one of them.
func (r *reader) lookUpOne(ctx context.Context, id clientv3.LeaseID) (*Lease, error) {
	hidden := len(r.ranges) > 0
	var resp *clientv3.LeaseTimeToLiveResponse
	var err error
	if !hidden {
		resp, err = r.timeToLive(ctx, id, clientv3.WithAttachedKeys())
		hidden = ask.Unauthorised(err)
	}
	if hidden {
		resp, err = r.timeToLive(ctx, id)
	}
	if err != nil || resp.TTL < 0 {
		return nil, err
	}
	l := &Lease{
		ID: id, Granted: time.Duration(resp.GrantedTTL) * time.Second, Remaining: time.Duration(resp.TTL) * time.Second,
		ReadAt: time.Now(), KeyCount: len(resp.Keys),
	}
	if hidden {
		l.KeyCount = -1
	}
	for _, key := range resp.Keys {
		l.attached = append(l.attached, string(key))
	}
	slices.Sort(l.attached)
	return l, nil
}

func (r *reader) timeToLive(ctx context.Context, id clientv3.LeaseID, opts ...clientv3.LeaseOption) (*clientv3.LeaseTimeToLiveResponse, error) {
	return ask.Read(ctx, r.cli, func(ctx context.Context) (*clientv3.LeaseTimeToLiveResponse, error) {
		return r.cli.TimeToLive(clientv3.WithRequireLeader(ctx), id, opts...)
	})
}

package lease

import (
	"context"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/ask"
)

// etcd is the cluster, as the rest of the package needs it. Tests use a fake one.
type etcd interface {
	endpoints() []string
	life() context.Context // ends when the client is closed
	// grant also tells whether a member may have received the request.
	grant(ctx context.Context, route string, id clientv3.LeaseID, ttl int64) (granted int64, sent bool, err error)
	// revoke returns nil for a lease that is not there.
	revoke(ctx context.Context, route string, id clientv3.LeaseID) error
	// open opens a stream for keepalives, which ends with ctx. It must be closed all the same.
	open(ctx context.Context, route string) (stream, error)

	pacing
}

// pacing is what all Keepers and other handles of a client decide together; see internal/ask.
type pacing interface {
	// Done is closed, and Err is not nil, once the client is closed.
	Done() <-chan struct{}
	Err() error
	// Outage is not nil while no member can be reached. Await waits for the end of that.
	Outage() error
	Await(ctx context.Context) error
	Answered()
	Failed(error)
	ClosingContext(ctx context.Context) (context.Context, func())
}

// stream asks one member for keepalives, one after another.
type stream interface {
	// keepAlive returns the lease's TTL, at most 0 if there is no such lease.
	keepAlive(id clientv3.LeaseID) (ttl int64, err error)
	close()
}

// members is the real etcd.
type members struct {
	*ask.Client
	cli *clientv3.Client
}

func (m *members) endpoints() []string   { return m.cli.Endpoints() }
func (m *members) life() context.Context { return m.cli.Ctx() }

// reach returns a route's client, and what gives it back.
//
// The client is the generated one: clientv3's Grant cannot choose the lease's id, and repeats
// a call without saying so.
func (m *members) reach(route string) (_ pb.LeaseClient, leave func(), err error) {
	if route == ownConnection {
		if err := m.Err(); err != nil {
			return nil, nil, err
		}
		return pb.NewLeaseClient(m.cli.ActiveConnection()), func() {}, nil
	}
	conn, leave, err := m.Conn(route)
	if err != nil {
		return nil, nil, err
	}
	return pb.NewLeaseClient(conn), leave, nil
}

func (m *members) grant(ctx context.Context, route string, id clientv3.LeaseID, ttl int64) (int64, bool, error) {
	c, leave, err := m.reach(route)
	if err != nil {
		return 0, false, err
	}
	defer leave()
	var sent ask.Sent
	granted, err := ask.GrantLease(ctx, c, id, ttl, sent.Option())
	return granted, err == nil || sent.Maybe(), err
}

func (m *members) revoke(ctx context.Context, route string, id clientv3.LeaseID) error {
	c, leave, err := m.reach(route)
	if err != nil {
		return err
	}
	defer leave()
	_, err = c.LeaseRevoke(clientv3.WithRequireLeader(ctx), &pb.LeaseRevokeRequest{ID: int64(id)})
	if err = rpctypes.Error(err); err == rpctypes.ErrLeaseNotFound {
		return nil
	}
	return err
}

func (m *members) open(ctx context.Context, route string) (stream, error) {
	c, leave, err := m.reach(route)
	if err != nil {
		return nil, err
	}
	// With a leader required, a member that is cut off from the others says so at once.
	s, err := c.LeaseKeepAlive(clientv3.WithRequireLeader(ctx))
	if err != nil {
		leave()
		return nil, rpctypes.Error(err)
	}
	return &memberStream{s, leave}, nil
}

type memberStream struct {
	pb.Lease_LeaseKeepAliveClient
	leave func()
}

func (s *memberStream) keepAlive(id clientv3.LeaseID) (int64, error) {
	return ask.KeepAlive(s, id)
}

func (s *memberStream) close() { s.leave() }

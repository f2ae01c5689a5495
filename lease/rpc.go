package lease

import (
	"context"
	"io"
	"sync"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// etcd is the cluster, as the rest of the package needs it. Tests have another one.
type etcd interface {
	endpoints() []string
	grant(ctx context.Context, route string, id clientv3.LeaseID, ttl int64) (granted int64, err error)
	// revoke returns nil for a lease that is not there.
	revoke(ctx context.Context, route string, id clientv3.LeaseID) error
	// open opens a stream for keepalives, which ends with ctx. It wants to be closed all the same.
	open(ctx context.Context, route string) (stream, error)
}

// stream asks one member for keepalives, one after another.
type stream interface {
	// keepAlive returns the lease's TTL, at most 0 if there is no such lease.
	keepAlive(id clientv3.LeaseID) (ttl int64, err error)
	close()
}

// members is the real etcd. The client's connection picks a member for each call and stream
// without regard to whether it answers (gRPC's round_robin has no health checks, and takes
// tens of seconds to notice a silent peer), so that one particular member is reached by a
// connection of its own, open while it is used.
type members struct {
	cli *clientv3.Client

	mu    sync.Mutex
	conns map[string]*dialled
}

type dialled struct {
	pb.LeaseClient
	io.Closer
	users int
}

func (m *members) endpoints() []string { return m.cli.Endpoints() }

// reach returns a route's client, to be given back with leave.
//
// The client is the generated one: clientv3's Grant cannot choose the lease's id, and repeats
// a call without saying so.
func (m *members) reach(route string) (pb.LeaseClient, error) {
	if route == shared {
		return pb.NewLeaseClient(m.cli.ActiveConnection()), nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	d := m.conns[route]
	if d == nil {
		conn, err := m.cli.Dial(route) // does not wait
		if err != nil {
			return nil, err
		}
		d = &dialled{LeaseClient: pb.NewLeaseClient(conn), Closer: conn}
		m.conns[route] = d
	}
	d.users++
	return d, nil
}

func (m *members) leave(route string) {
	if route == shared {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	d := m.conns[route]
	if d.users--; d.users == 0 {
		delete(m.conns, route)
		d.Close()
	}
}

func (m *members) grant(ctx context.Context, route string, id clientv3.LeaseID, ttl int64) (int64, error) {
	c, err := m.reach(route)
	if err != nil {
		return 0, err
	}
	defer m.leave(route)
	resp, err := c.LeaseGrant(clientv3.WithRequireLeader(ctx), &pb.LeaseGrantRequest{ID: int64(id), TTL: ttl})
	if err != nil {
		return 0, rpctypes.Error(err)
	}
	return resp.TTL, nil
}

func (m *members) revoke(ctx context.Context, route string, id clientv3.LeaseID) error {
	c, err := m.reach(route)
	if err != nil {
		return err
	}
	defer m.leave(route)
	_, err = c.LeaseRevoke(clientv3.WithRequireLeader(ctx), &pb.LeaseRevokeRequest{ID: int64(id)})
	if err = rpctypes.Error(err); err == rpctypes.ErrLeaseNotFound {
		return nil
	}
	return err
}

func (m *members) open(ctx context.Context, route string) (stream, error) {
	c, err := m.reach(route)
	if err != nil {
		return nil, err
	}
	// With a leader required, a member that is cut off from the others says so at once.
	s, err := c.LeaseKeepAlive(clientv3.WithRequireLeader(ctx))
	if err != nil {
		m.leave(route)
		return nil, rpctypes.Error(err)
	}
	return &memberStream{s, func() { m.leave(route) }}, nil
}

type memberStream struct {
	pb.Lease_LeaseKeepAliveClient
	leave func()
}

func (s *memberStream) keepAlive(id clientv3.LeaseID) (int64, error) {
	// A failed Send says io.EOF; the reason is what Recv returns.
	if err := s.Send(&pb.LeaseKeepAliveRequest{ID: int64(id)}); err != nil && err != io.EOF {
		return 0, rpctypes.Error(err)
	}
	resp, err := s.Recv()
	if err != nil {
		return 0, rpctypes.Error(err)
	}
	return resp.TTL, nil
}

func (s *memberStream) close() { s.leave() }

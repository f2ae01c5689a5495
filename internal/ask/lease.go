package ask

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"io"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
)

// NewLeaseID is random in 63 bits and not 0, which is etcd's word for no lease. From the system,
// because clones of a virtual machine would draw the same ids from a generator in the process.
func NewLeaseID() clientv3.LeaseID {
	for {
		var b [8]byte
		rand.Read(b[:]) // never fails
		if id := clientv3.LeaseID(binary.NativeEndian.Uint64(b[:]) >> 1); id != clientv3.NoLease {
			return id
		}
	}
}

// GrantLease asks once for a lease of a chosen id, for so many seconds, and returns for how many it was
// granted. A request that is sent again can ask for the same lease, which is then ErrLeaseExist. clientv3's
// Grant cannot choose the id, and repeats a call without saying so.
func GrantLease(ctx context.Context, c pb.LeaseClient, id clientv3.LeaseID, seconds int64, opts ...grpc.CallOption) (granted int64, err error) {
	resp, err := c.LeaseGrant(clientv3.WithRequireLeader(ctx), &pb.LeaseGrantRequest{ID: int64(id), TTL: seconds}, opts...)
	return resp.GetTTL(), rpctypes.Error(err)
}

// RenewLease asks once that a lease begins again, and returns its TTL; one that is not above 0 says that there is no such
// lease. clientv3's KeepAliveOnce would repeat the request without a pause.
func RenewLease(ctx context.Context, c pb.LeaseClient, id clientv3.LeaseID) (ttl int64, err error) {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx)) // ends the stream
	defer cancel()
	s, err := c.LeaseKeepAlive(ctx)
	if err != nil {
		return 0, rpctypes.Error(err)
	}
	return KeepAlive(s, id)
}

// KeepAlive is RenewLease on a stream that is there.
func KeepAlive(s pb.Lease_LeaseKeepAliveClient, id clientv3.LeaseID) (ttl int64, err error) {
	// A failed Send says io.EOF; the reason is what Recv returns.
	if err := s.Send(&pb.LeaseKeepAliveRequest{ID: int64(id)}); err != nil && err != io.EOF {
		return 0, rpctypes.Error(err)
	}
	resp, err := s.Recv()
	return resp.GetTTL(), rpctypes.Error(err)
}

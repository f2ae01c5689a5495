package registry_test

import (
	"context"
	"strings"
	"sync"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// rig is what happens to the watches of a client, on their way from a real etcd.
type rig struct {
	mu      sync.Mutex
	change  func(*pb.WatchResponse) // what a response becomes; nil: nothing happens to it
	held    chan struct{}           // requests for watches wait for it; nil: they do not
	opened  int                     // watches asked for
	careful int                     // streams that a member without a leader ends
	streams int
}

// rigged returns a client of the same members as cli, whose watches go through a rig.
func rigged(t *testing.T, cli *clientv3.Client) (*clientv3.Client, *rig) {
	t.Helper()
	r := &rig{}
	own, err := clientv3.New(clientv3.Config{
		Endpoints: cli.Endpoints(), Logger: zap.NewNop(), DialOptions: []grpc.DialOption{grpc.WithChainStreamInterceptor(r.intercept)},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { own.Close() })
	return own, r
}

func (r *rig) intercept(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	s, err := open(ctx, desc, cc, method, opts...)
	if err != nil || !strings.HasSuffix(method, "/Watch") {
		return s, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.streams++
	if md, _ := metadata.FromOutgoingContext(ctx); len(md.Get("hasleader")) > 0 {
		r.careful++
	}
	return &riggedStream{s, r}, nil
}

// is sets what happens to responses from now on.
func (r *rig) is(change func(*pb.WatchResponse)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.change = change
}

// hold has requests for watches wait until the function that it returns is called.
func (r *rig) hold() (release func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	held := make(chan struct{})
	r.held = held
	return sync.OnceFunc(func() { close(held) })
}

func (r *rig) watches() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.opened
}

type riggedStream struct {
	grpc.ClientStream
	r *rig
}

func (s *riggedStream) SendMsg(m any) error {
	if req, ok := m.(*pb.WatchRequest); ok && req.GetCreateRequest() != nil {
		s.r.mu.Lock()
		s.r.opened++
		held := s.r.held
		s.r.mu.Unlock()
		if held != nil {
			select {
			case <-held:
			case <-s.Context().Done():
			}
		}
	}
	return s.ClientStream.SendMsg(m)
}

func (s *riggedStream) RecvMsg(m any) error {
	if err := s.ClientStream.RecvMsg(m); err != nil {
		return err
	}
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	if resp, ok := m.(*pb.WatchResponse); ok && s.r.change != nil {
		s.r.change(resp)
	}
	return nil
}

// deaf loses events.
func deaf(resp *pb.WatchResponse) { resp.Events = nil }

// broken loses events, and the watch with them, as a member does that has lost its leader.
func broken(resp *pb.WatchResponse) {
	if len(resp.Events) > 0 {
		resp.Events, resp.Canceled, resp.CancelReason = nil, true, "etcdserver: no leader"
	}
}

package lab

import (
	"context"
	"sync/atomic"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
)

// Traffic is what clients and etcd said to one another: below retries, so that each one counts.
// Keepalives are no part of it.
type Traffic struct {
	Requests int64 // that have one answer
	Watches  int64 // opened
	Wakes    int64 // messages with events, on watches
}

// Meter counts the traffic of the clients that were made with its Options. The zero value is
// ready; its methods may be called from any goroutine.
type Meter struct{ requests, watches, wakes atomic.Int64 }

// Traffic is the sum so far.
func (m *Meter) Traffic() Traffic {
	return Traffic{m.requests.Load(), m.watches.Load(), m.wakes.Load()}
}

// Since is the traffic since an earlier one.
func (t Traffic) Since(earlier Traffic) Traffic {
	return Traffic{t.Requests - earlier.Requests, t.Watches - earlier.Watches, t.Wakes - earlier.Wakes}
}

// Options have a client counted.
func (m *Meter) Options() []grpc.DialOption {
	return []grpc.DialOption{grpc.WithChainUnaryInterceptor(m.unary), grpc.WithChainStreamInterceptor(m.stream)}
}

func (m *Meter) unary(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	m.requests.Add(1)
	return invoke(ctx, method, req, reply, cc, opts...)
}

func (m *Meter) stream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	s, err := open(ctx, desc, cc, method, opts...)
	if err != nil {
		return nil, err
	}
	return &metered{s, m}, nil
}

type metered struct {
	grpc.ClientStream
	meter *Meter
}

func (s *metered) SendMsg(msg any) error {
	if r, ok := msg.(*pb.WatchRequest); ok && r.GetCreateRequest() != nil {
		s.meter.watches.Add(1)
	}
	return s.ClientStream.SendMsg(msg)
}

func (s *metered) RecvMsg(msg any) error {
	err := s.ClientStream.RecvMsg(msg)
	if r, ok := msg.(*pb.WatchResponse); ok && err == nil && len(r.Events) > 0 {
		s.meter.wakes.Add(1)
	}
	return err
}

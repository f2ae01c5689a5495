package lease

import (
	"context"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/ask"
)

// Shared is the route of the client's own connection.
const Shared = ownConnection

// Fake is a cluster made of functions.
type Fake struct {
	Endpoints []string
	Grant     func(ctx context.Context, route string, id clientv3.LeaseID, ttl int64) (int64, error)
	Revoke    func(ctx context.Context, route string, id clientv3.LeaseID) error
	Open      func(ctx context.Context, route string) error
	KeepAlive func(ctx context.Context, route string, id clientv3.LeaseID) (int64, error)
	Close     func(route string)
	Closed    chan struct{} // nil: the client stays open
}

// NewKeeperOf is NewKeeper on a cluster and a clock of the test's.
func NewKeeperOf(f *Fake, clock func() time.Duration, opts *Options) *Keeper {
	return newKeeper(fakeEtcd{f}, clock, opts)
}

type fakeEtcd struct{ f *Fake }

func (e fakeEtcd) endpoints() []string   { return append([]string(nil), e.f.Endpoints...) }
func (e fakeEtcd) life() context.Context { return context.Background() }

func (e fakeEtcd) grant(ctx context.Context, route string, id clientv3.LeaseID, ttl int64) (int64, bool, error) {
	granted, err := e.f.Grant(ctx, route, id, ttl)
	return granted, true, err
}

func (e fakeEtcd) Done() <-chan struct{} { return e.f.Closed }

func (e fakeEtcd) Err() error {
	select {
	case <-e.f.Closed:
		return ask.ErrClosed
	default:
		return nil
	}
}

// The pacing of a fake cluster is that of one without outages.
func (e fakeEtcd) Outage() error               { return nil }
func (e fakeEtcd) Await(context.Context) error { return nil }
func (e fakeEtcd) Answered()                   {}
func (e fakeEtcd) Failed(error)                {}
func (e fakeEtcd) ClosingContext(ctx context.Context) (context.Context, func()) {
	return ctx, func() {}
}

func (e fakeEtcd) revoke(ctx context.Context, route string, id clientv3.LeaseID) error {
	return e.f.Revoke(ctx, route, id)
}

func (e fakeEtcd) open(ctx context.Context, route string) (stream, error) {
	if err := e.f.Open(ctx, route); err != nil {
		return nil, err
	}
	return &fakeStream{e.f, ctx, route}, nil
}

type fakeStream struct {
	f     *Fake
	ctx   context.Context
	route string
}

func (s *fakeStream) keepAlive(id clientv3.LeaseID) (int64, error) {
	return s.f.KeepAlive(s.ctx, s.route, id)
}

func (s *fakeStream) close() { s.f.Close(s.route) }

// BootTime is the clock of a Keeper.
func BootTime() time.Duration { return bootTime() }

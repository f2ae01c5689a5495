package grpcresolver

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/etcdkit/etcdkit/discovery"
	"github.com/etcdkit/etcdkit/discovery/internal/explain"
)

// server is what the balancer of one connection knows about an address.
type server struct {
	addr     string
	answers  atomic.Int64 // RPCs that were answered
	timeouts atomic.Int32 // deadlines in a row during which nothing was answered
	state    atomic.Int64 // well, or the number of the probe that decides: see suspected and silent

	life context.Context // ends when the address leaves the list
	left context.CancelFunc

	// guarded by serviceBalancer.mu
	ready        bool
	down         error // why there is no connection
	registration registration
	generation   int   // of its connection: see updateServers
	lastProbe    int64 // its number
}

// well is the state of a server that no probe is about.
const well = 0

// suspected reports whether a deadline was exceeded, and a probe asks whether the server answers at all.
func (s *server) suspected() bool { return s.state.Load() > well } // the probe's number

// silent reports whether the server has not answered the probe in time.
func (s *server) silent() bool { return s.state.Load() < well } // the probe's number, negative

const (
	// silentAfter is how long a probe waits for an answer before the server counts as silent.
	silentAfter = time.Second
	// otherAfter is when the probe asks in another way: the health check may wait for what it checks.
	otherAfter = silentAfter / 4
	// maxTimeouts exceeded deadlines in a row are a failure, even if the server answers health checks.
	maxTimeouts = 3
)

var (
	errDown   = errors.New("no connection")
	errSilent = fmt.Errorf("the server does not answer, not even a health check within %v", silentAfter)
)

// answered records an answer of the server, whatever it says.
func (s *server) answered() {
	s.answers.Add(1)
	if s.timeouts.Load() != 0 {
		s.timeouts.Store(0)
	}
	if s.state.Load() != well {
		s.state.Store(well)
	}
}

// outcome returns what the end of an RPC says about the instance. answers is how many RPCs the server
// had answered when this one began.
//
// An exceeded deadline alone says little, as it is usually too short. It counts if the server has not
// answered any RPC in that time, and then a health check decides: a process that is stopped or a
// machine that is gone does not answer that either.
func (b *serviceBalancer) outcome(i *discovery.Instance, s *server, sc balancer.SubConn, answers int64, d balancer.DoneInfo) error {
	switch code := status.Code(d.Err); {
	case s.life.Err() != nil:
		return explain.ErrUnused // it has left the list, or another process has its address
	case code == codes.Unavailable:
		return d.Err
	case code == codes.DeadlineExceeded:
		if s.answers.Load() != answers {
			return explain.ErrUnused
		}
		b.startProbe(i, s, sc)
		if !d.BytesReceived && s.timeouts.Add(1) >= maxTimeouts {
			return d.Err
		}
		return explain.ErrUnused
	case d.BytesReceived:
		s.answered()
		return nil
	}
	return explain.ErrUnused // cancelled, or never sent
}

// startProbe finds out whether a server answers at all, over the connection that RPCs use.
func (b *serviceBalancer) startProbe(i *discovery.Instance, s *server, sc balancer.SubConn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s.life.Err() == nil && s.state.CompareAndSwap(well, s.lastProbe+1) {
		s.lastProbe++
		view, number := b.view, s.lastProbe
		b.probes.Go(func() { b.probe(view, i, s, sc, number) }) // ends with the answer, the connection, or s.life
	}
}

// probe waits for the answer, however long that takes: a process that runs again answers immediately.
// Until then the server gets no RPC. When an RPC was answered meanwhile, the server is well, and the next
// exceeded deadline starts another probe: so a probe changes the state only while that has its number.
func (b *serviceBalancer) probe(view *discovery.View, i *discovery.Instance, s *server, sc balancer.SubConn, number int64) {
	producer, release := sc.GetOrBuildProducer(probes{})
	defer release()
	late := time.AfterFunc(silentAfter, func() {
		if s.life.Err() == nil && s.state.CompareAndSwap(number, -number) {
			view.ReportFailure(i, errSilent)
		}
	})
	defer late.Stop()
	err := ask(s.life, producer.(grpc.ClientConnInterface))
	wasSilent := !s.state.CompareAndSwap(number, well) && s.state.CompareAndSwap(-number, well)
	// Servers without the health service, and those that require a password, say so: that is an answer.
	if code := status.Code(err); wasSilent && code != codes.Unavailable && code != codes.Canceled {
		view.ReportRecovery(i)
	}
}

// noMethod is a method that no server has. gRPC itself answers that it does not exist.
const noMethod = "/etcdkit.grpcresolver/None"

// ask returns the first answer to a health check, and to a method that no server has.
func ask(ctx context.Context, conn grpc.ClientConnInterface) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	answers := make(chan error, 2)
	wg.Go(func() {
		_, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{})
		answers <- err
	})
	wg.Go(func() {
		select {
		case <-time.After(otherAfter):
			answers <- conn.Invoke(ctx, noMethod, new(healthpb.HealthCheckRequest), new(healthpb.HealthCheckResponse))
		case <-ctx.Done():
		}
	})
	return <-answers
}

// probes makes a producer of a connection: gRPC's way to send RPCs of a balancer's own.
type probes struct{}

func (probes) Build(conn any) (balancer.Producer, func()) { return conn, func() {} }

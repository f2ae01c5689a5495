package matrix_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/stats"
)

// traffic counts what a client sends, on all its connections.
type traffic struct {
	requests atomic.Int64 // calls, and messages on streams
	dials    atomic.Int64
	conns    atomic.Int64 // dials that succeeded
	revokes  atomic.Int64 // revocations that were begun
	logins   atomic.Int64 // passwords that were sent
	refused  atomic.Int64 // calls whose token was no longer valid

	mu   sync.Mutex
	sent map[string]int // calls by the address of the member
}

func (tr *traffic) TagRPC(ctx context.Context, info *stats.RPCTagInfo) context.Context {
	switch _, method, _ := strings.Cut(strings.TrimPrefix(info.FullMethodName, "/"), "/"); method {
	case "LeaseRevoke":
		tr.revokes.Add(1)
	case "Authenticate":
		tr.logins.Add(1)
	}
	return ctx
}
func (tr *traffic) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

func (tr *traffic) HandleConn(_ context.Context, s stats.ConnStats) {
	if _, is := s.(*stats.ConnBegin); is {
		tr.conns.Add(1)
	}
}

func (tr *traffic) HandleRPC(_ context.Context, s stats.RPCStats) {
	switch s := s.(type) {
	case *stats.OutPayload:
		tr.requests.Add(1)
	case *stats.OutHeader:
		tr.mu.Lock()
		defer tr.mu.Unlock()
		if tr.sent == nil {
			tr.sent = make(map[string]int)
		}
		tr.sent[s.RemoteAddr.String()]++
	case *stats.End:
		if errors.Is(rpctypes.Error(s.Error), rpctypes.ErrInvalidAuthToken) {
			tr.refused.Add(1)
		}
	}
}

// sentTo is the number of calls that were sent to a member.
func (tr *traffic) sentTo(addr string) int {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.sent[addr]
}

func (tr *traffic) options() []grpc.DialOption {
	return []grpc.DialOption{grpc.WithStatsHandler(tr), grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
		tr.dials.Add(1)
		return new(net.Dialer).DialContext(ctx, "tcp", addr)
	})}
}

func dial(t tester, endpoints []string) (*clientv3.Client, *traffic) {
	return connect(t, endpoints, "")
}

// connect returns a client of its own, closed when the test ends.
func connect(t tester, endpoints []string, user string) (*clientv3.Client, *traffic) {
	t.Helper()
	tr := &traffic{}
	cfg := clientv3.Config{Endpoints: endpoints, Logger: zap.NewNop(), DialOptions: tr.options()}
	if user != "" {
		cfg.Username, cfg.Password = user, "secret"
	}
	cli, err := clientv3.New(cfg)
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(func() {
		if user != "" {
			// clientv3's Close waits for ever if etcd refuses a watch in that moment (internal/ask/watcher.go).
			// The handles are closed; what they asked for last is answered by then.
			<-time.After(100 * ms)
		}
		cli.Close()
	})
	return cli, tr
}

package grpcresolver_test

import (
	"context"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/etcdkit/etcdkit/discovery"
	"github.com/etcdkit/etcdkit/discovery/grpcresolver"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/internal/means"
	"github.com/etcdkit/etcdkit/registry"
)

func TestMain(m *testing.M) {
	if os.Getenv(serverEnv) != "" {
		os.Exit(runServer())
	}
	means.TestsAtATime(4)
	goleak.VerifyTestMain(etcdtest.Main(m))
}

// within bounds what a test waits for, on a machine that does much else.
const within = 60 * time.Second

func bounded(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	t.Cleanup(cancel)
	return ctx
}

// server answers health checks, as it is told.
type server struct {
	healthpb.UnimplementedHealthServer
	grpc  *grpc.Server
	addr  string
	calls atomic.Int64
	conns atomic.Int64 // accepted
	list  atomic.Bool  // List hangs until its caller goes away
	none  atomic.Bool  // methods that the server does not have hang, too

	mu     sync.Mutex
	answer func(context.Context) error // nil: it serves
	lost   chan struct{}               // closed by lose
}

func (s *server) Check(ctx context.Context, _ *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	s.calls.Add(1)
	s.mu.Lock()
	answer := s.answer
	s.mu.Unlock()
	if answer != nil {
		if err := answer(ctx); err != nil {
			return nil, err
		}
	}
	return &healthpb.HealthCheckResponse{Status: healthpb.HealthCheckResponse_SERVING}, nil
}

func (s *server) List(ctx context.Context, _ *healthpb.HealthListRequest) (*healthpb.HealthListResponse, error) {
	if s.list.Load() {
		<-ctx.Done()
		<-time.After(100 * time.Millisecond) // the caller's own clock comes first
	}
	return &healthpb.HealthListResponse{}, nil
}

func (s *server) unknown(_ any, stream grpc.ServerStream) error {
	if s.none.Load() {
		<-stream.Context().Done()
	}
	return status.Error(codes.Unimplemented, "unknown method")
}

// listener counts the connections that a server accepts, and can lose them.
type listener struct {
	net.Listener
	s *server
}

func (l listener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.s.conns.Add(1)
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	return &losable{Conn: conn, lost: l.s.lost, closed: make(chan struct{})}, nil
}

// losable is a connection on which nothing arrives any more once it is lost, and nothing is reset.
type losable struct {
	net.Conn
	lost <-chan struct{}

	once   sync.Once
	closed chan struct{}
}

func (c *losable) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	select {
	case <-c.lost:
		<-c.closed
		return 0, net.ErrClosed
	default:
		return n, err
	}
}

func (c *losable) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// lose has the server's clients hear nothing more on the connections that they have, as when its machine
// is gone. Connections that come later are another server's at the same address.
func (s *server) lose() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.lost)
	s.lost = make(chan struct{})
}

func (s *server) will(answer func(context.Context) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
}

// serve starts a server at addr, "" for any port, stopped when the test ends.
func serve(t testing.TB, addr string) *server {
	t.Helper()
	if addr == "" {
		addr = etcdtest.Addr(t) // where another one may serve when this one has stopped
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	s := &server{addr: l.Addr().String(), lost: make(chan struct{})}
	s.grpc = grpc.NewServer(grpc.UnknownServiceHandler(s.unknown))
	healthpb.RegisterHealthServer(s.grpc, s)
	var wg sync.WaitGroup
	wg.Go(func() { _ = s.grpc.Serve(listener{l, s}) }) // it ends with Stop
	t.Cleanup(func() {
		s.grpc.Stop()
		wg.Wait()
	})
	return s
}

func registrar(t testing.TB, cli *clientv3.Client, prefix string) *registry.Registrar {
	t.Helper()
	r, err := registry.New(cli, &registry.Options{Prefix: prefix})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func register(t testing.TB, r *registry.Registrar, i registry.Instance) *registry.Registration {
	t.Helper()
	i.Service = "web"
	regs, err := r.Register(bounded(t), i)
	if err != nil {
		t.Fatal(err)
	}
	return regs[0]
}

// dial connects to web through a builder of its own.
func dial(t testing.TB, cli *clientv3.Client, view discovery.Options, opts ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	return dialWith(t, grpcresolver.New(cli, &grpcresolver.Options{View: view}), "etcdkit:///web", opts...)
}

func dialWith(t testing.TB, b *grpcresolver.Builder, target string, opts ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	opts = append([]grpc.DialOption{
		grpc.WithResolvers(b), grpc.WithNoProxy(),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
	}, opts...)
	conn, err := grpc.NewClient(target, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// balanced is the dial option for a policy by its name.
func balanced(policy string) grpc.DialOption {
	config := `{}`
	if policy == ringHash {
		config = `{"requestHashHeader":"user"}` // without the header it is by chance
	}
	return grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"` + policy + `":` + config + `}]}`)
}

// call makes one RPC and returns which server answered.
func call(ctx context.Context, conn *grpc.ClientConn, opts ...grpc.CallOption) (addr string, err error) {
	var p peer.Peer
	_, err = healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{}, append(opts, grpc.Peer(&p))...)
	if p.Addr != nil {
		addr = p.Addr.String()
	}
	return addr, err
}

// lines is a log.
type lines struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func (l *lines) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *lines) count(text string) int { return strings.Count(l.text(), text) }

// until calls until the answers of as many RPCs as there are servers, and more, are from these
// and from all of these.
func until(t testing.TB, conn *grpc.ClientConn, servers ...*server) {
	t.Helper()
	ctx := bounded(t)
	for {
		seen := make(map[string]bool)
		var last error
		for range 20 * len(servers) {
			addr, err := call(ctx, conn)
			seen[addr], last = true, err
			if err != nil {
				break
			}
		}
		good := len(seen) == len(servers) && last == nil
		for _, s := range servers {
			good = good && seen[s.addr]
		}
		if good {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("answers are from %v, %v; want %d servers", seen, last, len(servers))
		}
	}
}

// shares are how many of n RPCs each server answers.
func shares(t testing.TB, conn *grpc.ClientConn, n int) map[string]int {
	t.Helper()
	ctx, got := bounded(t), make(map[string]int)
	for range n {
		addr, err := call(ctx, conn)
		if err != nil {
			t.Fatal(err)
		}
		got[addr]++
	}
	return got
}

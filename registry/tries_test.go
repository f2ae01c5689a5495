package registry_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/internal/means"
	"github.com/etcdkit/etcdkit/lease"
	"github.com/etcdkit/etcdkit/registry"
)

// tries is what becomes of a client's transactions, on their way to and from a real etcd.
type tries struct {
	mu   sync.Mutex
	fate func(ctx context.Context, n int, req *pb.TxnRequest, do func() error) error // of the nth; nil: as etcd answers
	n    int
}

// is sets what becomes of transactions from now on, counted from 1.
func (t *tries) is(fate func(ctx context.Context, n int, req *pb.TxnRequest, do func() error) error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.fate, t.n = fate, 0
}

func (t *tries) option() grpc.DialOption {
	return grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		do := func() error { return invoke(ctx, method, req, reply, cc, opts...) }
		txn, ok := req.(*pb.TxnRequest)
		if !ok {
			return do()
		}
		t.mu.Lock()
		t.n++
		n, fate := t.n, t.fate
		t.mu.Unlock()
		if fate == nil {
			return do()
		}
		return fate(ctx, n, txn, do)
	})
}

// tried returns a client of the same members as cli, and what becomes of its transactions.
func tried(t *testing.T, cli *clientv3.Client) (*clientv3.Client, *tries) {
	t.Helper()
	all := &tries{}
	own, err := clientv3.New(clientv3.Config{Endpoints: cli.Endpoints(), Logger: zap.NewNop(), DialOptions: []grpc.DialOption{all.option()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { own.Close() })
	return own, all
}

// keptBack is what a silent member does with a request.
func keptBack(ctx context.Context) error {
	<-ctx.Done()
	return status.FromContextError(ctx.Err()).Err()
}

// closes fails unless a Close returns within the bound of closing.
func closes(t *testing.T, close func() error) error {
	t.Helper()
	most := 5 * time.Second
	if means.Race {
		most = within
	}
	began := time.Now()
	result := make(chan error, 1)
	go func() { result <- close() }() // a Close that does not return fails the test
	select {
	case err := <-result:
		if took := time.Since(began); took > closeBound+500*time.Millisecond && !means.Race {
			t.Errorf("Close took %v, want %v and a little", took, closeBound)
		}
		return err
	case <-time.After(most):
		t.Fatalf("Close does not return within %v, want %v", most, closeBound)
		return nil
	}
}

// A member that refuses answers, each time. That is not what Close waits for.
func TestCloseIsBoundedThoughEtcdAnswersThatItDoesNot(t *testing.T) {
	t.Parallel()
	for name, refusal := range map[string]error{
		"too many requests": rpctypes.ErrGRPCRequestTooManyRequests, "user name is empty": rpctypes.ErrGRPCUserEmpty,
		"authentication failed": rpctypes.ErrGRPCAuthFailed,
	} {
		for kind, shared := range map[string]bool{"its own Keeper": false, "a shared Keeper": true} {
			t.Run(name+", on "+kind, func(t *testing.T) {
				t.Parallel()
				server, prefix := etcdtest.New(t)
				cli, all := tried(t, server)
				opts := &registry.Options{Prefix: prefix, TTL: 5 * time.Second}
				if shared {
					opts.TTL, opts.Keeper = 0, lease.NewKeeper(cli, nil)
					defer opts.Keeper.Close()
				}
				r, err := registry.New(cli, opts)
				if err != nil {
					t.Fatal(err)
				}
				regs, err := r.Register(bounded(t), web("a"), web("b"))
				if err != nil {
					t.Fatal(err)
				}
				all.is(func(context.Context, int, *pb.TxnRequest, func() error) error { return refusal })
				err = closes(t, r.Close)
				if !shared && err == nil { // the lease was revoked, and the keys with it
					if kvs := get(t, server, prefix+"web/a").Kvs; len(kvs) != 0 {
						t.Errorf("Close is nil, and there is %v", kvs)
					}
					return
				}
				if err == nil || !strings.Contains(err.Error(), regs[0].State().Key) || !strings.Contains(err.Error(), regs[1].State().Key) ||
					!strings.Contains(err.Error(), "in etcd they stay until ") {
					t.Errorf("got %v, want the keys, and until when they stay", err)
				}
			})
		}
	}
}

// The answer that would tell on which lease the key is was lost, and that lease with the right to write there.
func TestCloseTellsOfAKeyThatALostAnswerHasPutOnAnotherLease(t *testing.T) {
	t.Parallel()
	c := etcdtest.NewCluster(t, &cluster.Options{Members: 1, InProcess: true})
	root := etcdtest.EnableAuth(t, c)
	all := &tries{}
	amy := etcdtest.User(t, c, root, "amy", "/services/", all.option())
	r, err := registry.New(amy, &registry.Options{TTL: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	regs, err := r.Register(bounded(t), web("a"))
	if err != nil {
		t.Fatal(err)
	}
	first := regs[0].State()
	all.is(func(_ context.Context, _ int, _ *pb.TxnRequest, do func() error) error {
		if err := do(); err != nil {
			return err
		}
		return status.Error(codes.Unavailable, "the connection broke")
	})
	if _, err := root.Revoke(bounded(t), first.Lease); err != nil {
		t.Fatal(err)
	}
	put := eventually(t, root, first.Key, first.Revision, func(ev *clientv3.Event) bool { return isPut(ev) && ev.Kv.Lease != int64(first.Lease) })
	if _, err := root.UserRevokeRole(bounded(t), "amy", "amy"); err != nil {
		t.Fatal(err)
	}
	for ctx := bounded(t); int64(regs[0].State().Lease) == put.Kv.Lease; { // until it has yet another one
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("%+v, want another lease", regs[0].State())
		}
	}
	err = closes(t, r.Close)
	if lease := fmt.Sprintf("%x", put.Kv.Lease); err == nil || !strings.Contains(err.Error(), first.Key) || !strings.Contains(err.Error(), lease) {
		t.Errorf("Close: %v, want %s, which stays until its lease %s ends", err, first.Key, lease)
	}
}

func TestATransactionWithoutAnAnswerIsSentAgainBeforeItIsGivenUp(t *testing.T) {
	t.Parallel()
	server, prefix := etcdtest.New(t)
	cli, all := tried(t, server)
	var givenUp atomic.Bool
	all.is(func(ctx context.Context, n int, req *pb.TxnRequest, do func() error) error {
		if n == 1 {
			err := keptBack(ctx)
			givenUp.Store(true)
			return err
		}
		if n == 2 && givenUp.Load() {
			t.Error("it is sent again only after the first one was given up")
		}
		return do()
	})
	register(t, cli, web("a"), &registry.Options{Prefix: prefix})
}

// What one member refuses all would.
func TestARefusalIsNotWaitedOutForASilentMember(t *testing.T) {
	t.Parallel()
	server, prefix := etcdtest.New(t)
	cli, all := tried(t, server)
	r, err := registry.New(cli, &registry.Options{Prefix: prefix})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var mu sync.Mutex
	puts := 0
	all.is(func(ctx context.Context, n int, req *pb.TxnRequest, do func() error) error {
		if len(req.Success) == 0 || req.Success[0].GetRequestPut() == nil {
			return do()
		}
		mu.Lock()
		puts++
		mu.Unlock()
		if n == 1 {
			return keptBack(ctx)
		}
		return rpctypes.ErrGRPCPermissionDenied
	})
	if _, err := r.Register(bounded(t), web("a")); !errors.Is(err, registry.ErrUnauthorised) {
		t.Errorf("got %v, want ErrUnauthorised", err)
	}
	mu.Lock()
	defer mu.Unlock()
	if puts > 3 { // one that is kept back, and one that is refused; all of them are five
		t.Errorf("sent %d times, want it given up when it was refused", puts)
	}
}

// A refusal of a write says nothing of the deletion that follows it.
func TestARefusalOfATryThatBeganBeforeCloseIsNotWhatCloseReturns(t *testing.T) {
	t.Parallel()
	server, prefix := etcdtest.New(t)
	cli, all := tried(t, server)
	k := lease.NewKeeper(cli, nil)
	defer k.Close()
	r, err := registry.New(cli, &registry.Options{Prefix: prefix, Keeper: k})
	if err != nil {
		t.Fatal(err)
	}
	regs, err := r.Register(bounded(t), web("a"))
	if err != nil {
		t.Fatal(err)
	}
	release, begun := make(chan struct{}), make(chan struct{}, 10)
	all.is(func(_ context.Context, _ int, _ *pb.TxnRequest, do func() error) error {
		select {
		case <-release:
			return do()
		default:
		}
		begun <- struct{}{}
		<-release
		return rpctypes.ErrGRPCPermissionDenied
	})
	updated := make(chan error, 1)
	go func() { updated <- regs[0].Update(bounded(t), func(i *registry.Instance) { i.Weight = 5 }) }() // ends with Close
	<-begun
	closed := make(chan error, 1)
	go func() { closed <- r.Close() }() // ends soon after release
	for ctx := bounded(t); len(r.Stats().Registrations) > 0; {
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			t.Fatal("Close does not begin")
		}
	}
	close(release)
	if err := <-closed; err != nil {
		t.Errorf("Close: %v", err)
	}
	if err := <-updated; !errors.Is(err, registry.ErrClosed) {
		t.Errorf("Update: %v, want ErrClosed", err)
	}
	if kvs := get(t, server, prefix+"web/a").Kvs; len(kvs) != 0 {
		t.Errorf("got %v, want the key gone", kvs)
	}
}

// While the Registrar is open its lease is kept alive: a key that was not deleted does not end with it.
func TestOneRegistrationsShutdownTellsThatItIsTriedAgain(t *testing.T) {
	t.Parallel()
	server, prefix := etcdtest.New(t)
	cli, all := tried(t, server)
	var log bytes.Buffer
	r, err := registry.New(cli, &registry.Options{Prefix: prefix, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	regs, err := r.Register(bounded(t), web("a"), web("b"))
	if err != nil {
		t.Fatal(err)
	}
	all.is(func(ctx context.Context, _ int, _ *pb.TxnRequest, _ func() error) error { return keptBack(ctx) })
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := regs[0].Shutdown(ctx); err == nil || !strings.Contains(err.Error(), "until another try succeeds") {
		t.Errorf("got %v, want that another try follows", err)
	}
	_ = closes(t, r.Close) // the lease is revoked, and the keys with it
	if got := log.String(); strings.Contains(got, "context canceled") {
		t.Errorf("the log has the end of the worker as a failure of etcd's:\n%s", got)
	}
}

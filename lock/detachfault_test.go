package lock_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/lease"
	"github.com/etcdkit/etcdkit/lock"
)

// arrives carries out a transaction that was not sent, and tells whether its comparisons held.
func (r *rigged) arrives(t *testing.T, late *riggedTxn) (succeeded bool, err error) {
	t.Helper()
	resp, err := r.KV.Txn(bounded(t)).If(late.cmps...).Then(late.ops...).Commit()
	if err != nil {
		return false, err
	}
	return resp.Succeeded, nil
}

// losesMoves loses the answers to transactions that put a key, or the transactions themselves, and those that
// delete one. After the first that puts it calls then with it, and whether it was carried out.
func (r *rigged) losesMoves(what fate, then func(*riggedTxn, bool)) {
	var once sync.Once
	r.meet(func(ops []clientv3.Op, commit func() (*clientv3.TxnResponse, error)) (*clientv3.TxnResponse, error) {
		if !ops[0].IsPut() {
			return nil, rpctypes.ErrTimeout
		}
		r.mu.Lock()
		txn := r.latest
		r.mu.Unlock()
		moved := false
		if what == unheard {
			resp, err := commit()
			moved = err == nil && resp.Succeeded
		}
		once.Do(func() { then(txn, moved) })
		return nil, rpctypes.ErrTimeout
	})
}

// leaseCalls are a client's requests to grant and to revoke leases: the test's functions carry them out. nil:
// as they are.
type leaseCalls struct {
	mu            sync.Mutex
	grant, revoke func(id clientv3.LeaseID, send func() error) error
}

func (c *leaseCalls) meet(grant, revoke func(id clientv3.LeaseID, send func() error) error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.grant, c.revoke = grant, revoke
}

func (c *leaseCalls) intercept(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, call grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	send := func() error { return call(ctx, method, req, reply, cc, opts...) }
	c.mu.Lock()
	grant, revoke := c.grant, c.revoke
	c.mu.Unlock()
	switch r := req.(type) {
	case *pb.LeaseGrantRequest:
		if grant != nil {
			return grant(clientv3.LeaseID(r.ID), send)
		}
	case *pb.LeaseRevokeRequest:
		if revoke != nil {
			return revoke(clientv3.LeaseID(r.ID), send)
		}
	}
	return send()
}

// leasing is a client beside cli whose requests for leases are the test's.
func leasing(t *testing.T, cli *clientv3.Client) (*clientv3.Client, *leaseCalls) {
	t.Helper()
	calls := new(leaseCalls)
	c, err := clientv3.New(clientv3.Config{
		Endpoints: cli.Endpoints(), Logger: zap.NewNop(),
		DialOptions: []grpc.DialOption{grpc.WithChainUnaryInterceptor(calls.intercept)},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, calls
}

// failsFirst fails the first n requests, and then sends them.
func failsFirst(n int) func(clientv3.LeaseID, func() error) error {
	var mu sync.Mutex
	return func(_ clientv3.LeaseID, send func() error) error {
		mu.Lock()
		n--
		fails := n >= 0
		mu.Unlock()
		if fails {
			return rpctypes.ErrGRPCTimeout
		}
		return send()
	}
}

func never(clientv3.LeaseID, func() error) error { return rpctypes.ErrGRPCTimeout }

// A try of Detach is carried out when another process has the lock.
func TestALateTryOfDetachDoesNotTakeTheLockFromItsNextHolder(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	elsewhere, _ := etcdtest.New(t)
	name := prefix + "lock"
	m := mutex(t, cli, name)
	h := acquire(t, m)
	r := rig(cli)
	r.fates(unsent)
	d, err := h.Detach(bounded(t), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	late := r.latest
	if late == nil || !late.ops[0].IsPut() {
		t.Fatal("void: no try")
	}
	next := mutex(t, elsewhere, name)
	resumed, err := next.Resume(bounded(t), d.ResumeToken())
	if err != nil {
		t.Fatal(err)
	}
	on := leaseOf(t, elsewhere, resumed.Key())
	if done, err := r.arrives(t, late); err != nil || done {
		t.Errorf("it was carried out: %v, %v", done, err)
	}
	if is := leaseOf(t, elsewhere, resumed.Key()); is != on {
		t.Errorf("its key is on lease %x, want %x", is, on)
	}
	if err := d.Release(bounded(t)); !errors.Is(err, lock.ErrLost) {
		t.Errorf("the one before: %v, want ErrLost", err)
	}
	release(t, resumed)
}

func TestADetachWhoseFirstAnswerIsLostIsDone(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	r := rig(cli)
	h := acquire(t, mutex(t, cli, prefix+"lock"))
	r.fates(unheard)
	d, err := h.Detach(bounded(t), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Renew(bounded(t)); err != nil {
		t.Error(err)
	}
	if err := d.Release(bounded(t)); err != nil {
		t.Error(err)
	}
}

// The first process goes on, though it should not.
func TestADetachOfALockThatWasResumedIsALoss(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	elsewhere, _ := etcdtest.New(t)
	name := prefix + "lock"
	m := mutex(t, cli, name)
	h := acquire(t, m)
	resumed, err := mutex(t, elsewhere, name).Resume(bounded(t), h.ResumeToken())
	if err != nil {
		t.Fatal(err)
	}
	if d, err := h.Detach(bounded(t), time.Minute); !errors.Is(err, lock.ErrLost) || d != nil {
		t.Errorf("got %v, %v, want ErrLost", d, err)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if n := count(t, elsewhere, resumed.Key()); n != 1 {
		t.Error("the key is gone")
	}
	release(t, resumed)
}

// It may be detached for a year, and only its lease can be revoked.
func TestADetachWithoutAnAnswerLeavesTheLockFree(t *testing.T) {
	t.Parallel()
	shared, prefix := etcdtest.New(t)
	detach := func(t *testing.T, name string, k *lease.Keeper, cli *clientv3.Client) (*lock.Mutex, *lock.Detached) {
		m := lock.New(cli, name, &lock.Options{Keeper: k})
		t.Cleanup(func() { m.Close() })
		h := acquire(t, m)
		ctx, cancel := context.WithCancel(bounded(t))
		defer cancel()
		detached := false
		rig(cli).losesMoves(unheard, func(_ *riggedTxn, moved bool) {
			detached = moved
			cancel()
		})
		d, err := h.Detach(ctx, 365*24*time.Hour)
		if !errors.Is(err, lock.ErrUnknown) || errors.Is(err, lock.ErrLost) || d == nil {
			t.Fatalf("got %v, %v, want ErrUnknown", d, err)
		}
		if !detached {
			t.Fatal("void: it was not detached")
		}
		return m, d
	}
	t.Run("when etcd answers again", func(t *testing.T) {
		t.Parallel()
		cli, calls := leasing(t, shared)
		calls.meet(nil, failsFirst(2))
		detach(t, prefix+"again", nil, cli)
		empty(t, shared, prefix+"again")
	})
	for what, k := range map[string]func(*clientv3.Client) *lease.Keeper{
		"":                    func(*clientv3.Client) *lease.Keeper { return nil },
		" on a shared Keeper": func(cli *clientv3.Client) *lease.Keeper { return shortKeeper(t, cli, 5*time.Second) },
	} {
		t.Run("when Close returns"+what, func(t *testing.T) {
			t.Parallel()
			cli, calls := leasing(t, shared)
			name := prefix + "closed" + what
			keeper := k(cli)
			calls.meet(nil, failsFirst(1))
			m, _ := detach(t, name, keeper, cli)
			_ = m.Close()
			if n := count(t, shared, name+"/"); n != 0 {
				t.Error("it is held")
			}
		})
	}
	t.Run("when a later process releases it", func(t *testing.T) {
		t.Parallel()
		cli, calls := leasing(t, shared)
		calls.meet(nil, never)
		_, d := detach(t, prefix+"later", nil, cli)
		if err := open(t, shared, d.String()).Release(bounded(t)); err != nil {
			t.Error(err)
		}
		if n := count(t, shared, prefix+"later/"); n != 0 {
			t.Error("it is held")
		}
	})
}

// What Detach sent is carried out after a later process has released the lock.
func TestADetachedLockThatWasReleasedStaysSo(t *testing.T) {
	t.Parallel()
	shared, prefix := etcdtest.New(t)
	cli, calls := leasing(t, shared)
	calls.meet(nil, never)
	h := acquire(t, mutex(t, cli, prefix+"lock"))
	r := rig(cli)
	ctx, cancel := context.WithCancel(bounded(t))
	defer cancel()
	var late *riggedTxn
	r.losesMoves(unsent, func(txn *riggedTxn, _ bool) {
		late = txn
		cancel()
	})
	d, err := h.Detach(ctx, time.Hour)
	if !errors.Is(err, lock.ErrUnknown) {
		t.Fatalf("got %v, want ErrUnknown", err)
	}
	if err := open(t, shared, d.String()).Release(bounded(t)); !errors.Is(err, lock.ErrLost) {
		t.Errorf("Release: %v, want ErrLost", err)
	}
	if done, err := r.arrives(t, late); !errors.Is(err, rpctypes.ErrLeaseNotFound) {
		t.Errorf("it arrives: %v, %v, want that its lease is gone", done, err)
	}
}

// grants are what needs a lease that nothing renews.
var grants = map[string]func(context.Context, *lock.Hold, *lock.Mutex) error{
	"Detach": func(ctx context.Context, h *lock.Hold, _ *lock.Mutex) error {
		_, err := h.Detach(ctx, time.Hour)
		return err
	},
	"Every": func(ctx context.Context, h *lock.Hold, m *lock.Mutex) error {
		if err := h.Release(ctx); err != nil {
			return err
		}
		_, err := m.Every(ctx, time.Hour, nothing)
		return err
	},
}

func TestAGrantWithoutAnAnswerLeavesNoLease(t *testing.T) {
	t.Parallel()
	for what, call := range grants {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			shared, prefix := etcdtest.New(t)
			cli, calls := leasing(t, shared)
			m := mutex(t, cli, prefix+"lock")
			h := acquire(t, m)
			ctx, cancel := context.WithCancel(bounded(t))
			defer cancel()
			granted := make(chan clientv3.LeaseID, 100)
			calls.meet(func(id clientv3.LeaseID, send func() error) error {
				if send() == nil {
					granted <- id
				}
				cancel()
				return rpctypes.ErrGRPCTimeout
			}, failsFirst(1))
			if err := call(ctx, h, m); !errors.Is(err, context.Canceled) {
				t.Fatalf("void: %v", err)
			}
			lasts(t, shared, happens(t, "a lease is granted", granted), -1)
			empty(t, shared, prefix+"lock")
		})
	}
}

// etcd grants the lease after it has said that there is none to revoke.
func TestAGrantThatArrivesLateIsRevoked(t *testing.T) {
	t.Parallel()
	for what, call := range grants {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			shared, prefix := etcdtest.New(t)
			cli, calls := leasing(t, shared)
			m := mutex(t, cli, prefix+"lock")
			h := acquire(t, m)
			ctx, cancel := context.WithCancel(bounded(t))
			defer cancel()
			wanted, revoked := make(chan clientv3.LeaseID, 100), make(chan clientv3.LeaseID, 100)
			calls.meet(func(id clientv3.LeaseID, _ func() error) error {
				wanted <- id
				cancel()
				return rpctypes.ErrGRPCTimeout
			}, func(id clientv3.LeaseID, send func() error) error {
				err := send()
				revoked <- id
				return err
			})
			if err := call(ctx, h, m); !errors.Is(err, context.Canceled) {
				t.Fatalf("void: %v", err)
			}
			id := happens(t, "a lease is asked for", wanted)
			for happens(t, "it is revoked", revoked) != id {
			}
			granted, err := pb.NewLeaseClient(shared.ActiveConnection()).LeaseGrant(bounded(t), &pb.LeaseGrantRequest{ID: int64(id), TTL: 3600})
			if err != nil || granted.ID != int64(id) {
				t.Fatalf("void: %v, %v", granted, err)
			}
			lasts(t, shared, id, -1)
		})
	}
}

func TestTheLeaseOfAMarkThatWasNotWrittenIsRevokedWhenEtcdAnswersAgain(t *testing.T) {
	t.Parallel()
	shared, prefix := etcdtest.New(t)
	cli, calls := leasing(t, shared)
	granted := make(chan clientv3.LeaseID, 100)
	m := mutex(t, cli, prefix+"job")
	release(t, acquire(t, m))
	calls.meet(func(id clientv3.LeaseID, send func() error) error {
		granted <- id
		return send()
	}, failsFirst(2))
	bad := errors.New("bad")
	if _, err := m.Every(bounded(t), time.Hour, func(context.Context, *lock.Hold) error { return bad }); !errors.Is(err, bad) {
		t.Fatalf("got %v, want what the run returned", err)
	}
	lasts(t, shared, happens(t, "a lease is granted", granted), -1)
}

package registry_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/internal/means"
	"github.com/etcdkit/etcdkit/lease"
	"github.com/etcdkit/etcdkit/registry"
)

func TestALiveOwnerOfTheSameIDIsNamed(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	opts := &registry.Options{Prefix: prefix, TTL: 2 * time.Second}
	register(t, cli, web("a"), opts)
	began := time.Now()
	reg, err := registry.Register(bounded(t), cli, web("a"), opts)
	if reg != nil || !errors.Is(err, registry.ErrExists) || !strings.Contains(err.Error(), fmt.Sprintf("by this process already (pid %d)", os.Getpid())) {
		t.Errorf("got %v, %v, want ErrExists that names this process", reg, err)
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("that took %v, want no wait for the owner's lease", took)
	}
	if kvs := get(t, cli, prefix+"web/a").Kvs; len(kvs) != 1 {
		t.Errorf("the owner's key: %v, want it untouched", kvs)
	}
	if _, err := cli.Put(t.Context(), prefix+"web/b", "for ever"); err != nil {
		t.Fatal(err)
	}
	if _, err := registry.Register(bounded(t), cli, web("b"), opts); !errors.Is(err, registry.ErrExists) || !strings.Contains(err.Error(), "delete the key") {
		t.Errorf("a key without a lease: got %v, want ErrExists and what to do", err)
	}
}

func TestTheKeyOfAProcessThatDiedIsWaitedFor(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	lease, err := cli.Grant(t.Context(), 2)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cli.Put(t.Context(), prefix+"web/a", "10.0.0.9:80", clientv3.WithLease(lease.ID)); err != nil {
		t.Fatal(err)
	}
	reg := register(t, cli, web("a"), &registry.Options{Prefix: prefix})
	if s := reg.State(); !s.Registered {
		t.Errorf("got %+v", s)
	}
}

// A dead owner's lease has much time left: there is no process to stop, and no need for another ID.
func TestRegisterSaysThatItWaitsForADeadOwnersLease(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	dead, err := cli.Grant(t.Context(), 600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cli.Put(t.Context(), prefix+"web/a", "10.0.0.9:80", clientv3.WithLease(dead.ID)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err = registry.Register(ctx, cli, web("a"), &registry.Options{Prefix: prefix})
	if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, registry.ErrExists) || !strings.Contains(err.Error(), "waiting for lease") {
		t.Errorf("got %v, want DeadlineExceeded, what is waited for, and no ErrExists", err)
	}
}

// A write that etcd carries out when it was given up for lost must not stay.
func TestAnOldValueThatComesBackIsPutRight(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	reg := register(t, cli, web("a"), &registry.Options{Prefix: prefix})
	old := get(t, cli, prefix+"web/a").Kvs[0]
	if err := reg.Drain(bounded(t), "deploy"); err != nil {
		t.Fatal(err)
	}
	late, err := cli.Put(bounded(t), prefix+"web/a", string(old.Value), clientv3.WithLease(clientv3.LeaseID(old.Lease)))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, cli, prefix+"web/a", late.Header.Revision, func(ev *clientv3.Event) bool {
		return isPut(ev) && strings.Contains(string(ev.Kv.Value), "draining")
	})
}

func TestCloseEndsARegistrationThatStillWaits(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	dead, err := cli.Grant(t.Context(), 60)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cli.Put(t.Context(), prefix+"web/a", "10.0.0.9:80", clientv3.WithLease(dead.ID)); err != nil {
		t.Fatal(err)
	}
	log := make(lines, 10)
	r, err := registry.New(cli, &registry.Options{Prefix: prefix, Logger: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	result := make(chan error, 1)
	go func() { // waited for below
		regs, err := r.Register(bounded(t), web("a"))
		if regs != nil {
			err = errors.Join(err, fmt.Errorf("registered %v", regs[0].State()))
		}
		result <- err
	}()
	if line := <-log; !strings.Contains(line, "waiting for the lease of the key's owner to end") {
		t.Errorf("log: %s", line)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if err := <-result; !errors.Is(err, registry.ErrClosed) {
		t.Errorf("got %v, want ErrClosed", err)
	}
}

// On one lease the keys of two registrars look alike in etcd.
func TestTwoRegistrarsOfOneKeeperExcludeOneAnother(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	k := lease.NewKeeper(cli, nil)
	defer k.Close()
	opts := &registry.Options{Prefix: prefix, Keeper: k}
	first := register(t, cli, web("a"), opts)
	if _, err := registry.Register(bounded(t), cli, web("a"), opts); !errors.Is(err, registry.ErrExists) {
		t.Errorf("got %v, want ErrExists", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	register(t, cli, web("a"), opts)
}

// Another client deletes the key whenever it appears.
func TestAKeyThatIsDeletedAgainAndAgainIsNotFoughtFor(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	reg := register(t, cli, web("a"), &registry.Options{Prefix: prefix})
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second) // of the fight
	defer cancel()
	for resp := range cli.Watch(ctx, prefix+"web/a", clientv3.WithRev(reg.State().Revision)) {
		for _, ev := range resp.Events {
			if isPut(ev) {
				if _, err := cli.Delete(t.Context(), prefix+"web/a"); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	n := reg.State().Losses
	t.Logf("%d times in 3 s", n)
	if n < 3 || n > 30 {
		t.Errorf("registered again %d times in 3 s, want it to go on, ever more slowly", n)
	}
}

type lines chan string

func (l lines) Write(b []byte) (int, error) {
	l <- string(b)
	return len(b), nil
}

func TestCloseIsNotOvertakenByItsOwnReRegistration(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	for round := range 40 {
		reg := register(t, cli, web("a"), &registry.Options{Prefix: prefix})
		if round%2 == 0 {
			if _, err := cli.Revoke(t.Context(), reg.State().Lease); err != nil {
				t.Fatal(err)
			}
		} else if _, err := cli.Delete(t.Context(), prefix+"web/a"); err != nil {
			t.Fatal(err)
		}
		if err := reg.Close(); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if kvs := get(t, cli, prefix+"web/a").Kvs; len(kvs) != 0 {
			t.Fatalf("round %d: after Close: %v, want nothing", round, kvs)
		}
	}
}

// asked returns a client of the same members as cli, whose reads of leases go through fate, counted from 1.
func asked(t *testing.T, cli *clientv3.Client, fate func(ctx context.Context, n int64, do func() error) error) *clientv3.Client {
	t.Helper()
	var n atomic.Int64
	own, err := clientv3.New(clientv3.Config{Endpoints: cli.Endpoints(), Logger: zap.NewNop(), DialOptions: []grpc.DialOption{
		grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			do := func() error { return invoke(ctx, method, req, reply, cc, opts...) }
			if !strings.HasSuffix(method, "/LeaseTimeToLive") {
				return do()
			}
			return fate(ctx, n.Add(1), do)
		}),
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { own.Close() })
	return own
}

// owned puts keys of a process that may live, on one lease, and returns instances that want them.
func owned(t *testing.T, cli *clientv3.Client, prefix string, n int) (all []registry.Instance) {
	t.Helper()
	dead, err := cli.Grant(t.Context(), 600)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		id := fmt.Sprint("owned", i)
		if _, err := cli.Put(t.Context(), prefix+"web/"+id, "10.0.0.9:80", clientv3.WithLease(dead.ID)); err != nil {
			t.Fatal(err)
		}
		all = append(all, web(id))
	}
	return all
}

func TestASilentMemberThatIsAskedForAnOwnersLeaseHoldsNoOtherWriteUp(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	wanted := owned(t, cli, prefix, 1)
	silent := make(chan struct{})
	own := asked(t, cli, func(ctx context.Context, n int64, do func() error) error {
		if n == 1 {
			close(silent)
			return keptBack(ctx)
		}
		return do()
	})
	r, err := registry.New(own, &registry.Options{Prefix: prefix})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() { // ends with cancel
		_, err := r.Register(ctx, wanted...)
		result <- err
	}()
	<-silent
	began := time.Now()
	if _, err := r.Register(bounded(t), web("free")); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 3*time.Second && !means.Race {
		t.Errorf("another registration took %v, want the half second after which another member is asked", took)
	}
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the end of its context", err)
	}
}

func TestALeaseOfManyOwnedKeysIsReadOnce(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	var reads atomic.Int64
	own := asked(t, cli, func(_ context.Context, _ int64, do func() error) error { reads.Add(1); return do() })
	r, err := registry.New(own, &registry.Options{Prefix: prefix})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	wanted := owned(t, cli, prefix, 50)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := r.Register(ctx, wanted...); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the deadline", err)
	}
	if n := reads.Load(); n == 0 || n > 10 {
		t.Errorf("the lease was read %d times in 1 s, want once each half second", n)
	}
}

func TestAnEntryThatLeftWhileItsOwnersLeaseWasReadIsWithdrawnAtOnce(t *testing.T) {
	t.Parallel()
	took := means.Fastest(func() time.Duration { return leavesWhileItsOwnersLeaseIsRead(t) })
	if took > 300*time.Millisecond && !means.Race {
		t.Errorf("from the answer on Close took %v, want no pause", took)
	}
}

// leavesWhileItsOwnersLeaseIsRead returns how long after the answer Close returned.
func leavesWhileItsOwnersLeaseIsRead(t *testing.T) time.Duration {
	t.Helper()
	cli, prefix := etcdtest.New(t)
	release, reading := make(chan struct{}), make(chan struct{})
	own := asked(t, cli, func(_ context.Context, n int64, do func() error) error {
		if n == 1 {
			close(reading)
		}
		<-release
		return do()
	})
	r, err := registry.New(own, &registry.Options{Prefix: prefix})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	wanted := owned(t, cli, prefix, 1)
	go func() { // ends with cancel
		_, err := r.Register(ctx, wanted...)
		result <- err
	}()
	<-reading
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the end of its context", err)
	}
	closed := make(chan error, 1)
	go func() { closed <- r.Close() }() // ends soon after release
	<-time.After(100 * time.Millisecond)
	close(release)
	began := time.Now()
	if err := <-closed; err != nil {
		t.Error(err)
	}
	return time.Since(began)
}

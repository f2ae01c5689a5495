package registry_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/internal/means"
	"github.com/etcdkit/etcdkit/lease"
	"github.com/etcdkit/etcdkit/registry"
)

// closeBound is how long Close may take while etcd is away.
const closeBound = 2 * time.Second

// outlived waits until a registration knows that its lease has ended.
func outlived(t *testing.T, reg *registry.Registration) {
	t.Helper()
	for ctx := bounded(t); reg.State().Registered; {
		select {
		case <-time.After(20 * time.Millisecond): // State reads the clock, and Changed is closed later
		case <-ctx.Done():
			t.Fatalf("%+v, want it to know that its lease has ended", reg.State())
		}
	}
}

func TestCloseTellsWhichKeysAreStillThereAndUntilWhen(t *testing.T) {
	t.Parallel()
	const ttl = 2 * time.Second
	for name, wait := range map[string]bool{"while the lease lives": false, "when the lease has ended": true} {
		for kind, shared := range map[string]bool{"its own Keeper": false, "a shared Keeper": true} {
			t.Run(name+", on "+kind, func(t *testing.T) {
				t.Parallel()
				c := etcdtest.NewCluster(t, &cluster.Options{Members: 1})
				cli := etcdtest.Client(t, c)
				opts := &registry.Options{TTL: ttl}
				if shared {
					opts.TTL, opts.Keeper = 0, lease.NewKeeper(cli, &lease.Options{TTL: ttl})
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
				if _, err := c.Kill(t.Context(), "etcd1"); err != nil {
					t.Fatal(err)
				}
				if wait {
					outlived(t, regs[0])
				}
				began := time.Now()
				err = r.Close()
				if took := time.Since(began); took > closeBound && !means.Race {
					t.Errorf("Close took %v, want %v", took, closeBound)
				}
				if err == nil || !strings.Contains(err.Error(), regs[0].State().Key) || !strings.Contains(err.Error(), regs[1].State().Key) ||
					!strings.Contains(err.Error(), "in etcd they stay until ") || !strings.Contains(err.Error(), c.Endpoints()[0]) {
					t.Errorf("got %v, want the keys, the endpoint, and until when they stay", err)
				}
				t.Log(err)
				if again := r.Close(); again != err {
					t.Errorf("the second Close says %v, want the same", again)
				}
				if _, err := c.Start(t.Context(), "etcd1"); err != nil {
					t.Fatal(err)
				}
				back := etcdtest.Client(t, c)
				if kvs := get(t, back, "/services/web/a").Kvs; len(kvs) == 0 && !shared {
					t.Error("void: the key is not there any more")
				}
				eventually(t, back, "/services/web/a", regs[0].State().Revision, func(ev *clientv3.Event) bool { return !isPut(ev) })
			})
		}
	}
}

func TestAKeyWhoseLeaseEndedInAnOutageIsRegisteredAgainOnTheSameKeeper(t *testing.T) {
	t.Parallel()
	c := etcdtest.NewCluster(t, &cluster.Options{Members: 1})
	cli := etcdtest.Client(t, c)
	k := lease.NewKeeper(cli, &lease.Options{TTL: 2 * time.Second})
	defer k.Close()
	register := func() (*registry.Registrar, *registry.Registration, error) {
		r, err := registry.New(cli, &registry.Options{Keeper: k})
		if err != nil {
			t.Fatal(err)
		}
		regs, err := r.Register(bounded(t), web("a"))
		if err != nil {
			return r, nil, err
		}
		return r, regs[0], nil
	}
	r, reg, err := register()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Pause(t.Context(), "etcd1"); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err == nil {
		t.Error("void: Close is nil in an outage")
	}
	for ctx := bounded(t); reg.State().Lease != 0; { // until its registrar sees that the lease has ended
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("%+v, want it without a lease", reg.State())
		}
	}
	if _, err := c.Resume(t.Context(), "etcd1"); err != nil {
		t.Fatal(err)
	}
	again, _, err := register()
	if err != nil {
		t.Errorf("registered again: %v", err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}

// Shutdown's bound is the caller's, and in it etcd comes back.
func TestShutdownRemovesTheKeyWhenEtcdComesBackInTime(t *testing.T) {
	t.Parallel()
	for _, alone := range []bool{true, false} {
		c := etcdtest.NewCluster(t, &cluster.Options{Members: 1})
		cli := etcdtest.Client(t, c)
		r, err := registry.New(cli, &registry.Options{TTL: 5 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		regs, err := r.Register(bounded(t), web("a"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Kill(t.Context(), "etcd1"); err != nil {
			t.Fatal(err)
		}
		outlived(t, regs[0])
		result := make(chan error, 1)
		go func() { // waited for below
			if alone {
				result <- r.Shutdown(bounded(t))
			} else {
				result <- regs[0].Shutdown(bounded(t))
			}
		}()
		if _, err := c.Start(t.Context(), "etcd1"); err != nil {
			t.Fatal(err)
		}
		if err := <-result; err != nil {
			t.Error(err)
		}
		if kvs := get(t, etcdtest.Client(t, c), "/services/web/a").Kvs; len(kvs) != 0 {
			t.Errorf("after Shutdown: %v, want nothing", kvs)
		}
	}
}

func TestShutdownEndsWithItsContext(t *testing.T) {
	t.Parallel()
	c := etcdtest.NewCluster(t, &cluster.Options{Members: 1})
	k := lease.NewKeeper(etcdtest.Client(t, c), &lease.Options{TTL: 2 * time.Second})
	defer k.Close()
	r, err := registry.New(etcdtest.Client(t, c), &registry.Options{Keeper: k})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Register(bounded(t), web("a")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Pause(t.Context(), "etcd1"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	began := time.Now()
	if err := r.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "/services/web/a") {
		t.Errorf("got %v, want the deadline and the key", err)
	}
	if took := time.Since(began); took > 600*time.Millisecond && !means.Race {
		t.Errorf("Shutdown took %v, want 0.3 s", took)
	}
	if _, err := c.Resume(t.Context(), "etcd1"); err != nil {
		t.Fatal(err)
	}
}

// Nothing is left then, and that is no error.
func TestCloseAfterItsKeeperOrItsLeaseHasGoneIsNoError(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	for name, end := range map[string]func(*lease.Keeper, *registry.Registration) error{
		"the Keeper was closed": func(k *lease.Keeper, _ *registry.Registration) error { return k.Close() },
		"the lease was revoked and the Keeper closed": func(k *lease.Keeper, reg *registry.Registration) error {
			_, err := cli.Revoke(bounded(t), reg.State().Lease)
			return errors.Join(err, k.Close())
		},
	} {
		for round := range 20 { // what is under way when the Keeper ends differs from one to the next
			alone := round%2 == 0
			k := lease.NewKeeper(cli, nil)
			r, err := registry.New(cli, &registry.Options{Prefix: prefix, Keeper: k})
			if err != nil {
				t.Fatal(err)
			}
			regs, err := r.Register(bounded(t), web("a"))
			if err != nil {
				t.Fatal(err)
			}
			if err := end(k, regs[0]); err != nil {
				t.Fatal(err)
			}
			if !alone {
				if err := regs[0].Close(); err != nil {
					t.Errorf("%s: Registration.Close: %v, want nil: nothing is left", name, err)
				}
			}
			if err := r.Close(); err != nil {
				t.Errorf("%s: Close: %v, want nil: nothing is left", name, err)
			}
			if kvs := get(t, cli, prefix+"web/a").Kvs; len(kvs) != 0 {
				t.Errorf("%s: after Close: %v, want nothing", name, kvs)
			}
		}
	}
}

func TestAClosedClientEndsRegistrationsAtOnce(t *testing.T) {
	t.Parallel()
	shared, prefix := etcdtest.New(t)
	cli, err := clientv3.New(clientv3.Config{Endpoints: shared.Endpoints(), Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	log := make(lines, 20)
	r, err := registry.New(cli, &registry.Options{Prefix: prefix, TTL: 5 * time.Second, Logger: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	regs, err := r.Register(bounded(t), web("a"))
	if err != nil {
		t.Fatal(err)
	}
	// Another one is waiting for a key that it cannot have yet.
	dead, err := shared.Grant(bounded(t), 600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := shared.Put(bounded(t), prefix+"web/b", "10.0.0.9:80", clientv3.WithLease(dead.ID)); err != nil {
		t.Fatal(err)
	}
	waiter := make(chan error, 1)
	go func() { // waited for below
		_, err := r.Register(bounded(t), web("b"))
		waiter <- err
	}()
	if line := <-log; !strings.Contains(line, "waiting for the lease") {
		t.Errorf("log: %s", line)
	}
	wantClosed := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, registry.ErrClosed) || !strings.Contains(err.Error(), "the etcd client was closed") {
			t.Errorf("%s: got %v, want ErrClosed that says that the client was closed", what, err)
		}
	}
	changed := regs[0].Changed()
	began := time.Now()
	if err := cli.Close(); err != nil {
		t.Fatal(err)
	}
	if s := regs[0].State(); s.Registered {
		t.Errorf("state %+v, want it not registered", s)
	}
	wantClosed("the waiter", <-waiter)
	select {
	case <-changed:
	case <-bounded(t).Done():
		t.Fatal("Changed was not closed")
	}
	wantClosed("state", regs[0].State().Err)
	if n := r.Stats().Registrations[registry.Group{Service: "web", Status: registry.Passing, Registered: true}]; n != 0 {
		t.Errorf("Stats have %d registered, want none", n)
	}
	wantClosed("Update", regs[0].Update(bounded(t), func(i *registry.Instance) { i.Weight = 2 }))
	_, err = r.Register(bounded(t), web("c"))
	wantClosed("Register", err)
	_, err = registry.Register(bounded(t), cli, web("d"), &registry.Options{Prefix: prefix})
	wantClosed("Register on a closed client", err)
	for range 2 {
		err := r.Close()
		wantClosed("Close", err)
		if !strings.Contains(err.Error(), prefix+"web/a") || !strings.Contains(err.Error(), "in etcd it stays until") {
			t.Errorf("Close: %v, want the key and until when it stays", err)
		}
	}
	if took := time.Since(began); took > time.Second && !means.Race {
		t.Errorf("all of this took %v, want it at once", took)
	}
	// Nothing renews the lease over other connections.
	eventually(t, shared, prefix+"web/a", regs[0].State().Revision, func(ev *clientv3.Event) bool { return !isPut(ev) })
	if took := time.Since(began); took > 8*time.Second {
		t.Errorf("the key went after %v, want a TTL of 5 s and a little", took)
	}
}

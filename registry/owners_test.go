package registry_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/lease"
	"github.com/etcdkit/etcdkit/registry"
)

func TestALiveOwnerOfTheSameIDIsNamed(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	opts := &registry.Options{Prefix: prefix, TTL: 2 * time.Second}
	register(t, cli, web("a"), opts)
	reg, err := registry.Register(bounded(t), cli, web("a"), opts)
	if reg != nil || !errors.Is(err, registry.ErrExists) || !strings.Contains(err.Error(), "pid ") {
		t.Errorf("got %v, %v, want ErrExists that names the process", reg, err)
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

// Somebody deletes the key whenever it appears.
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

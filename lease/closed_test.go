package lease_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/etcdkit/etcdkit/etcdtest"
	asking "github.com/etcdkit/etcdkit/internal/ask"
	"github.com/etcdkit/etcdkit/lease"
)

func TestAClosedClientEndsItsLeasesAtOnce(t *testing.T) {
	t.Parallel()
	direct, _ := etcdtest.New(t)
	cli := must[*clientv3.Client](t)(clientv3.New(clientv3.Config{Endpoints: direct.Endpoints(), Logger: zap.NewNop()}))
	k := lease.NewKeeper(cli, &lease.Options{TTL: 3 * time.Second})
	l := live(t, k)
	if err := l.Confirm(t.Context()); err != nil {
		t.Fatal(err)
	}
	cli.Close()
	wantEnds := func(err error) {
		t.Helper()
		if !errors.Is(err, lease.ErrClosed) || !errors.Is(err, asking.ErrClosed) || !strings.Contains(err.Error(), "the etcd client was closed") {
			t.Errorf("after the client was closed: got %v, want ErrClosed that says so", err)
		}
	}
	wantEnds(l.Err())
	wantDone(t, l)
	began := time.Now()
	_, err := k.Lease(t.Context())
	wantEnds(err)
	_, err = k.Reserve(t.Context(), 1)
	wantEnds(err)
	_, err = k.TryLease(t.Context())
	wantEnds(err)
	wantEnds(l.Confirm(t.Context()))
	if err := k.Close(); !errors.Is(err, asking.ErrClosed) {
		t.Errorf("Close after the client's: got %v, want an error that says that a lease is left", err)
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("calls after the client was closed took %v", took)
	}
	deadline := time.Now().Add(generous)
	for {
		left := must[*clientv3.LeaseTimeToLiveResponse](t)(direct.TimeToLive(t.Context(), l.ID()))
		if left.TTL <= 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the lease of a closed client lives in etcd: something renews it")
		}
		<-time.After(200 * time.Millisecond)
	}
}

func TestAClosedClientEndsCallsThatWaitForALease(t *testing.T) {
	cli := must[*clientv3.Client](t)(clientv3.New(clientv3.Config{Endpoints: []string{etcdtest.Addr(t)}, Logger: zap.NewNop()}))
	k := newKeeper(t, cli, nil)
	got := make(chan error, 1)
	go func() {
		_, err := k.Lease(context.Background())
		got <- err
	}()
	<-time.After(300 * time.Millisecond) // it has tried
	closed := time.Now()
	cli.Close()
	select {
	case err := <-got:
		if !errors.Is(err, lease.ErrClosed) || !errors.Is(err, asking.ErrClosed) {
			t.Errorf("got %v, want ErrClosed, as the client is", err)
		}
		if took := time.Since(closed); took > time.Second {
			t.Errorf("it returned %v after the client was closed", took)
		}
	case <-time.After(generous):
		t.Fatal("it waits for ever")
	}
}

func TestNothingHoldsAKeeperWhoseClientWasClosed(t *testing.T) {
	shared, _ := etcdtest.New(t)
	cli, err := clientv3.New(clientv3.Config{Endpoints: shared.Endpoints()})
	if err != nil {
		t.Fatal(err)
	}
	defer cli.Close()
	k := newKeeper(t, cli, nil)
	l := live(t, k)
	if asking.BackgroundOf(k) == nil {
		t.Fatal("there is no Background")
	}
	if _, err := cli.Revoke(t.Context(), l.ID()); err != nil {
		t.Fatal(err)
	}
	if err := l.Confirm(t.Context()); !errors.Is(err, lease.ErrRevoked) {
		t.Fatalf("Confirm: got %v, want ErrRevoked", err)
	}
	cli.Close()
	for end := time.Now().Add(generous); asking.BackgroundOf(k) != nil; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the Keeper is still held, though it has no lease and no client")
		}
	}
}

package lock_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/lease"
	"github.com/etcdkit/etcdkit/lock"
)

// follower is a member that does not lead, and the endpoints of the others.
func follower(t testing.TB, c *cluster.Cluster) (name, endpoint string, others []string) {
	t.Helper()
	for i, n := range c.Names() {
		if n != c.Leader() && name == "" {
			name, endpoint = n, c.Endpoints()[i]
			continue
		}
		others = append(others, c.Endpoints()[i])
	}
	return name, endpoint, others
}

// The watch is open, on a member that then says nothing any more, or is cut off from the others and still
// answers what it is asked.
func TestAWaiterHasItsTurnThoughItsOpenWatchIsSilent(t *testing.T) {
	t.Parallel()
	for what, fault := range map[string]func(*cluster.Cluster, context.Context, string) (*cluster.Change, error){
		"paused": (*cluster.Cluster).Pause, "blackholed": (*cluster.Cluster).Blackhole, "isolated": (*cluster.Cluster).Isolate,
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			c := etcdtest.NewCluster(t, nil)
			name, endpoint, others := follower(t, c)
			elsewhere, err := clientv3.New(clientv3.Config{Endpoints: others, Logger: zap.NewNop()})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { elsewhere.Close() })
			cli, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, Logger: zap.NewNop()})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { cli.Close() })
			m := lock.New(cli, "lock", &lock.Options{TTL: 30 * time.Second})
			t.Cleanup(func() { m.Close() })
			h := acquire(t, mutex(t, elsewhere, "lock"))
			w := queued(t, elsewhere, "lock", 2, func(ctx context.Context) (*lock.Hold, error) { return m.Acquire(ctx) })
			<-time.After(500 * time.Millisecond) // its watch is open by then
			cli.SetEndpoints(c.Endpoints()...)
			if _, err := fault(c, t.Context(), name); err != nil {
				t.Fatal(err)
			}
			release(t, h)
			began := time.Now()
			got := w.soon(t, 8*time.Second)
			t.Logf("held %v after the release", time.Since(began))
			release(t, got)
		})
	}
}

// silencing is a stream from which nothing comes any more when it is silenced.
type silencing struct {
	grpc.ClientStream
	silent *atomic.Bool
	heard  func()
}

func (s *silencing) RecvMsg(m any) error {
	err := s.ClientStream.RecvMsg(m)
	if s.silent.Load() {
		<-s.Context().Done()
		return s.Context().Err()
	}
	s.heard()
	return err
}

// A stream falls silent, and then another waiter opens its watch on it as well. The first one's
// watch is opened on another stream, though the second one's is still on this one.
func TestASilentWatchIsOpenedOnAnotherStream(t *testing.T) {
	t.Parallel()
	shared, prefix := etcdtest.New(t)
	var silent atomic.Bool
	opened, heard := make(chan struct{}, 100), make(chan struct{})
	once := sync.OnceFunc(func() { close(heard) })
	cli, err := clientv3.New(clientv3.Config{Endpoints: shared.Endpoints(), Logger: zap.NewNop(), DialOptions: []grpc.DialOption{
		grpc.WithChainStreamInterceptor(func(ctx context.Context, d *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
			s, err := open(ctx, d, cc, method, opts...)
			if err != nil || !strings.HasSuffix(method, "/Watch") {
				return s, err
			}
			opened <- struct{}{}
			if silent.Load() { // this is another one
				return s, nil
			}
			return &silencing{s, &silent, once}, nil
		}),
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cli.Close() })
	leave := stranger(t, shared, prefix+"a", 1)
	stranger(t, shared, prefix+"b", 1)
	a, b := mutex(t, cli, prefix+"a"), mutex(t, cli, prefix+"b")
	w := queued(t, shared, prefix+"a", 2, func(ctx context.Context) (*lock.Hold, error) { return a.Acquire(ctx) })
	happens(t, "a stream is opened", opened)
	happens(t, "a watch is open", heard)
	silent.Store(true)
	<-time.After(2500 * time.Millisecond) // its stream is asked after 2 s, and 1.5 s later found silent
	queued(t, shared, prefix+"b", 2, func(ctx context.Context) (*lock.Hold, error) { return b.Acquire(ctx) })
	leave()
	select {
	case <-opened:
	case <-time.After(5 * time.Second):
		t.Fatal("no other stream is opened")
	}
	release(t, w.gets(t))
}

// One follower is silent, and it may be the one that is asked first.
func TestOneSilentFollowerHoldsUpNoAcquire(t *testing.T) {
	t.Parallel()
	c := etcdtest.NewCluster(t, nil)
	name, endpoint, _ := follower(t, c)
	ttls := []time.Duration{5 * time.Second, time.Minute, 5 * time.Minute}
	var clients []*clientv3.Client
	for range ttls { // each is connected to it
		cli, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, Logger: zap.NewNop()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cli.Close() })
		put(t, cli, "any")()
		clients = append(clients, cli)
	}
	if _, err := c.Pause(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	for i, ttl := range ttls {
		clients[i].SetEndpoints(c.Endpoints()...)
		for n := range 3 {
			m := lock.New(clients[i], fmt.Sprint("lock", i, n), &lock.Options{TTL: ttl})
			t.Cleanup(func() { m.Close() }) // when the follower is back
			began := time.Now()
			_, err := m.Acquire(bounded(t))
			took := time.Since(began)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("TTL %v, %d: held after %v", ttl, n, took)
			if took > 3*time.Second {
				t.Fatalf("TTL %v: held after %v, want 3 s at most", ttl, took)
			}
		}
	}
	if _, err := c.Resume(t.Context(), name); err != nil {
		t.Fatal(err)
	}
}

func TestAClosedClientEndsHoldsWaitersAndCalls(t *testing.T) {
	shared, prefix := etcdtest.New(t)
	for _, kind := range kindsOfHolds {
		cli := another(t, shared)
		h := kind.acquire(t, cli, prefix+kind.name)
		m := mutex(t, cli, prefix+"waits for "+kind.name)
		stranger(t, shared, prefix+"waits for "+kind.name, 1)
		w := queued(t, shared, prefix+"waits for "+kind.name, 2, func(ctx context.Context) (*lock.Hold, error) { return m.Acquire(ctx) })
		if err := cli.Close(); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		<-h.Done()
		if err := h.Err(); !errors.Is(err, lock.ErrLost) {
			t.Errorf("%s: %v, want ErrLost", kind.name, err)
		}
		if err := <-w.err; !errors.Is(err, lock.ErrClosed) {
			t.Errorf("%s: a waiter: %v, want ErrClosed", kind.name, err)
		}
		if _, err := m.Acquire(context.Background()); !errors.Is(err, lock.ErrClosed) {
			t.Errorf("Acquire: %v, want ErrClosed", err)
		}
		if _, err := m.TryAcquire(context.Background()); !errors.Is(err, lock.ErrClosed) {
			t.Errorf("TryAcquire: %v, want ErrClosed", err)
		}
		if err := h.Release(context.Background()); !errors.Is(err, lock.ErrLost) {
			t.Errorf("%s: Release: %v, want ErrLost", kind.name, err)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("%s: all that took %v", kind.name, took)
		}
	}
}

func TestCloseReleasesHoldsOnASharedKeeper(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	keeper := lease.NewKeeper(cli, nil)
	defer keeper.Close()
	m := lock.New(cli, prefix+"lock", &lock.Options{Keeper: keeper})
	h := acquire(t, m)
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if n := count(t, cli, prefix+"lock/"); n != 0 || !errors.Is(h.Err(), lock.ErrLost) {
		t.Errorf("%d entries and %v after Close, want none and ErrLost", n, h.Err())
	}
}

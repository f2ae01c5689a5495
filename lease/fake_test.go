package lease_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/lease"
)

// bench is a cluster of pretence in a synctest bubble: who answers, what and when is the
// test's to say. Times are counted from the bench's beginning.
type bench struct {
	t     *testing.T
	fake  *lease.Fake
	begun time.Time
	slept time.Duration // of a machine that was suspended

	mu      sync.Mutex
	delay   map[string]time.Duration // of answers, by route
	silent  map[string]bool          // routes without an answer
	fails   map[string]error
	gone    bool  // the lease, on the server
	ttl     int64 // granted, if not what was asked for
	exists  map[clientv3.LeaseID]bool
	asked   []ask // keepalives
	grants  []ask
	revoked []clientv3.LeaseID
	streams map[string]int // open
}

type ask struct {
	route string
	at    time.Duration
	id    clientv3.LeaseID
}

var members = []string{"a:1", "b:1", "c:1"}

func newBench(t *testing.T) *bench {
	b := &bench{
		t: t, begun: time.Now(),
		delay: map[string]time.Duration{}, silent: map[string]bool{}, fails: map[string]error{},
		exists: map[clientv3.LeaseID]bool{}, streams: map[string]int{},
	}
	b.fake = &lease.Fake{
		Endpoints: members,
		Grant: func(ctx context.Context, route string, id clientv3.LeaseID, ttl int64) (int64, error) {
			b.with(func() { b.grants = append(b.grants, ask{route, b.now(), id}) })
			if err := b.travel(ctx, route); err != nil {
				return 0, err
			}
			b.mu.Lock()
			defer b.mu.Unlock()
			if b.exists[id] {
				return 0, rpctypes.ErrLeaseExist
			}
			b.exists[id] = true
			return max(b.ttl, ttl), nil
		},
		Revoke: func(ctx context.Context, route string, id clientv3.LeaseID) error {
			if err := b.travel(ctx, route); err != nil {
				return err
			}
			b.with(func() { b.revoked = append(b.revoked, id); delete(b.exists, id) })
			return nil
		},
		Open: func(_ context.Context, route string) error {
			b.with(func() { b.streams[route]++ })
			return nil
		},
		KeepAlive: func(ctx context.Context, route string, id clientv3.LeaseID) (int64, error) {
			b.with(func() { b.asked = append(b.asked, ask{route, b.now(), id}) })
			if err := b.travel(ctx, route); err != nil {
				return 0, err
			}
			b.mu.Lock()
			defer b.mu.Unlock()
			if b.gone {
				return 0, nil
			}
			return max(b.ttl, 9), nil
		},
		Close: func(route string) { b.with(func() { b.streams[route]-- }) },
	}
	return b
}

func (b *bench) with(f func()) { b.mu.Lock(); f(); b.mu.Unlock() }

func (b *bench) now() time.Duration { return time.Since(b.begun) }

func (b *bench) keepAlives() []ask { b.mu.Lock(); defer b.mu.Unlock(); return slices.Clone(b.asked) }

func (b *bench) grantTries() []ask { b.mu.Lock(); defer b.mu.Unlock(); return slices.Clone(b.grants) }

func (b *bench) revokedIDs() []clientv3.LeaseID {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.revoked)
}

// travel is the way of a question to a member and of its answer back.
func (b *bench) travel(ctx context.Context, route string) error {
	b.mu.Lock()
	delay, silent, err := b.delay[route], b.silent[route], b.fails[route]
	b.mu.Unlock()
	if silent {
		delay = time.Hour
	}
	select {
	case <-time.After(delay):
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// keeper has a TTL of 9 s and a margin of 1 s, unless opts say otherwise.
func (b *bench) keeper(opts *lease.Options) *lease.Keeper {
	if opts == nil {
		opts = &lease.Options{TTL: 9 * time.Second, Margin: time.Second}
	}
	k := lease.NewKeeperOf(b.fake, func() time.Duration {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.now() + b.slept
	}, opts)
	b.t.Cleanup(func() {
		k.Close()
		for route, open := range b.streams {
			if open != 0 {
				b.t.Errorf("%d streams to %q are open after Close", open, route)
			}
		}
	})
	return k
}

func (b *bench) lease(k *lease.Keeper) *lease.Lease {
	b.t.Helper()
	l, err := k.Lease(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	return l
}

// everyone sets something for all routes.
func everyone[V any](of map[string]V, to V) {
	for _, route := range append([]string{lease.Shared}, members...) {
		of[route] = to
	}
}

func wantEnd(t *testing.T, l *lease.Lease, reason error, in ...string) {
	t.Helper()
	err := l.Err()
	if !errors.Is(err, reason) {
		t.Fatalf("Err: got %v, want %v", err, reason)
	}
	for _, s := range append(in, fmt.Sprintf("%x", int64(l.ID()))) {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("Err: got %q, want %q in it", err, s)
		}
	}
	for _, other := range []error{lease.ErrExpired, lease.ErrRevoked, lease.ErrUnreachable, lease.ErrUnauthorised, lease.ErrClosed} {
		if other != reason && errors.Is(err, other) {
			t.Errorf("Err: got %v, which is %v as well as %v", err, other, reason)
		}
	}
	select {
	case <-l.Done():
	default:
		t.Error("Done is open, and Err is not nil")
	}
	if left := l.Remaining(); left != 0 {
		t.Errorf("Remaining of a lease that ended: got %v, want 0", left)
	}
}

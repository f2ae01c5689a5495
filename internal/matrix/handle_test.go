package matrix_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/discovery/grpcresolver"
	"github.com/etcdkit/etcdkit/lease"
)

// place is where a handle is opened.
type place struct {
	cli     *clientv3.Client // what the handle stands on
	other   *clientv3.Client // another process's: nothing is done to it
	name    string           // the handle's own in this cluster
	ttl     time.Duration
	keeper  *lease.Keeper         // a shared one; nil: one of the handle's own
	builder *grpcresolver.Builder // a shared one; nil: one of the handle's own
	dir     string                // for lists that are saved
	crowd   bool                  // many handles are opened: none asks etcd whether it waits already
}

// ownTTL is the option TTL of a handle: a shared Keeper has one of its own.
func (p *place) ownTTL() time.Duration {
	if p.keeper != nil {
		return 0
	}
	return p.ttl
}

// handle is what a user holds, as the tests of all columns need it.
type handle struct {
	// done is closed when the handle has ended, and err then says why. A handle that has no such
	// channel has one that is never closed.
	done <-chan struct{}
	err  func() error
	// works is nil if the handle does its work now; it may wait for that until ctx ends.
	works func(ctx context.Context) error
	// serves is nil if the handle comes to what it was opened for: a waiter gets its turn. It is
	// the last thing that is asked of a handle.
	serves func(ctx context.Context) error
	// key is the key in etcd on which the handle stands, "" if there is none.
	key func(ctx context.Context) (string, error)
	// gone is nil, or waits until the handle shows that the key is no longer there.
	gone func(ctx context.Context) error
	// answers is nil, or sends a request to the service, which must be answered even while etcd is away.
	answers func(ctx context.Context) error
	// stale is nil, or tells whether the handle says that what it shows is old.
	stale func() bool
	close func() error
	calls []call
}

// call is one of the calls that belong to a kind of handle.
type call struct {
	name string
	do   func(ctx context.Context) error
}

// ends tells whether the call ends the handle.
func (c call) ends() bool { return c.name == "Release" || c.name == "Resign" }

// row is one kind of handle.
type row struct {
	name string
	open func(ctx context.Context, p *place) (*handle, error)
}

// rows are all kinds, in the order of the page.
func rows() []row { return append(lockRows(), serviceRows()...) }

// never is not closed.
var never = make(chan struct{})

func noError() error { return nil }

func fixed(key string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return key, nil }
}

// blocker is the key of another process that has the turn, as clientv3's Mutex or Election would
// have it, but without a lease: it stays, whatever happens to etcd.
func blocker(name string) string { return name + "/0" }

// until calls f, every 5 ms, until it is nil. When ctx ends first, the error is f's last one.
func until(ctx context.Context, f func() error) error {
	for {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// waiting is a call that goes on in the background.
type waiting struct {
	done chan struct{}
	mu   sync.Mutex
	err  error
}

func background(f func() error) *waiting {
	w := &waiting{done: make(chan struct{})}
	go func() { // ends with f, which the handle's close ends
		defer close(w.done)
		err := f()
		w.mu.Lock()
		defer w.mu.Unlock()
		w.err = err
	}()
	return w
}

func (w *waiting) result() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// ownEntry finds the one key below name that is not the blocker's.
func ownEntry(ctx context.Context, cli *clientv3.Client, name string) (string, error) {
	resp, err := cli.Get(ctx, name+"/", clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		return "", err
	}
	for _, kv := range resp.Kvs {
		if string(kv.Key) != blocker(name) {
			return string(kv.Key), nil
		}
	}
	return "", errors.New("it has no entry in the queue")
}

var errGone = errors.New("the key is not in etcd")

// there is nil if the key is in etcd.
func there(ctx context.Context, cli *clientv3.Client, key string) error {
	resp, err := cli.Get(ctx, key, clientv3.WithCountOnly())
	if err != nil {
		return err
	}
	if resp.Count == 0 {
		return fmt.Errorf("%w: %s", errGone, key)
	}
	return nil
}

// bare is nil if no key on a lease is left below the handle's name and a separator. The test's own have none.
func bare(ctx context.Context, p *place, separator string) error {
	resp, err := p.other.Get(ctx, p.name+separator, clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		return err
	}
	for _, kv := range resp.Kvs {
		if kv.Lease != 0 {
			return fmt.Errorf("the key %q is left", kv.Key)
		}
	}
	return nil
}

// absent is nil if the key is not in etcd.
func absent(ctx context.Context, cli *clientv3.Client, key string) error {
	switch err := there(ctx, cli, key); {
	case err == nil:
		return fmt.Errorf("the key %s is still in etcd", key)
	case errors.Is(err, errGone):
		return nil
	default:
		return err
	}
}

// fresh numbers what must be different each time.
var fresh atomic.Int64

// watched is a handle whose end is recorded at the moment when it is told.
type watched struct {
	*handle
	row     row
	place   *place
	p       promise
	traffic *traffic
	opened  time.Duration // how long it took to open
	middle  error         // whether it worked in the middle of the situation

	told chan time.Time // gets when it was told
}

func (w *watched) watch(ctx context.Context) {
	select {
	case <-w.done:
		w.told <- time.Now()
	case <-ctx.Done():
	}
}

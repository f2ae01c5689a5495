package lock

import (
	"context"
	"errors"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/queue"
)

// ErrUpgrade: who reads under an RWMutex asked to write. It would wait for its own reading to end.
var ErrUpgrade = errors.New("lock: a read hold cannot become a write hold")

// RWMutex is a lock that one writer or any number of readers hold. Who comes first is first: a
// reader that comes after a writer waits behind it, so neither starves. Its methods may be called
// from any goroutine, and each hold has an entry of its own in etcd.
//
// A Mutex of the same name, clientv3's and etcdctl's too, is a writer.
type RWMutex struct{ lock }

// NewRW returns the read-write lock of a name. It sends nothing. A name that is not one is ErrName
// from the first call.
func NewRW(cli *clientv3.Client, name string, opts *Options) *RWMutex {
	return &RWMutex{newLock(cli, name, opts)}
}

// Acquire waits until nobody else holds the lock. It is otherwise as [Mutex.Acquire]. Within DoRead
// of this lock, with its context, it is ErrUpgrade.
func (m *RWMutex) Acquire(ctx context.Context, reads ...clientv3.Op) (*Hold, error) {
	if ctx.Value(within{&m.lock}) == toRead {
		return nil, fmt.Errorf("%w: %q: release it and acquire to write, and read again: somebody may have written in between", ErrUpgrade, m.name)
	}
	if err := m.nested(ctx); err != nil {
		return nil, err
	}
	return m.acquire(ctx, queue.Kind{}, reads)
}

// AcquireRead waits until nobody who writes holds the lock or has come before. It is otherwise as
// [Mutex.Acquire]; within DoRead it is ErrNested, too, as a writer may stand between the two.
func (m *RWMutex) AcquireRead(ctx context.Context, reads ...clientv3.Op) (*Hold, error) {
	if err := m.nested(ctx); err != nil {
		return nil, err
	}
	return m.acquire(ctx, queue.Kind{Shared: true}, reads)
}

// TryAcquire takes the lock to write if nobody holds it or waits for it, and is ErrTaken otherwise,
// having written nothing.
func (m *RWMutex) TryAcquire(ctx context.Context) (*Hold, error) {
	return m.try(ctx, queue.Kind{})
}

// TryAcquireRead takes the lock to read if nobody holds it to write or waits to, and is ErrTaken
// otherwise.
func (m *RWMutex) TryAcquireRead(ctx context.Context) (*Hold, error) {
	return m.try(ctx, queue.Kind{Shared: true})
}

// Do is [Mutex.Do], to write.
func (m *RWMutex) Do(ctx context.Context, f func(context.Context, *Hold) error) error {
	h, err := m.Acquire(ctx)
	if err != nil {
		return err
	}
	return h.do(ctx, toWrite, f)
}

// DoRead is [Mutex.Do], to read.
func (m *RWMutex) DoRead(ctx context.Context, f func(context.Context, *Hold) error) error {
	h, err := m.AcquireRead(ctx)
	if err != nil {
		return err
	}
	return h.do(ctx, toRead, f)
}

package lock

import (
	"context"
	"errors"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/queue"
)

// ErrUpgrade: a reader of an RWMutex asked to write. It would wait for its own reading to end.
var ErrUpgrade = errors.New("lock: a read hold cannot become a write hold")

// RWMutex is a lock that one writer or any number of readers hold. The first to come is the first
// to hold: a reader that comes after a writer waits behind it, so neither starves. Its methods may be
// called from any goroutine, and each hold has its own entry in etcd.
//
// A Mutex of the same name, clientv3's and etcdctl's too, is a writer.
type RWMutex struct{ lock }

// NewRW returns the read-write lock of a name. It sends nothing. With an invalid name or option each call
// returns ErrInvalid.
func NewRW(cli *clientv3.Client, name string, opts *SharedOptions) *RWMutex {
	return &RWMutex{newLock(cli, name, opts)}
}

// Acquire waits until the caller alone holds the lock, to write. Otherwise it is as [Mutex.Acquire].
// Within DoRead of this lock, with its context, the error is ErrUpgrade.
func (m *RWMutex) Acquire(ctx context.Context, reads ...clientv3.Op) (*Hold, error) {
	if call := m.doCallOf(ctx); call != nil && call.to == toRead {
		return nil, m.handle.Errorf("acquire", "%w: release it and acquire to write, and read again: another process may have written in between", ErrUpgrade)
	}
	if err := m.nested(ctx, queue.Kind{}); err != nil {
		return nil, err
	}
	return m.acquire(ctx, queue.Kind{}, reads)
}

// AcquireRead waits until no writer holds the lock or came earlier. Otherwise it is as [Mutex.Acquire].
// Within DoRead the error is ErrNested, too, as a writer may wait between the two.
//
// A write hold cannot become a read hold, as writers may wait right behind it: within Do the error is
// ErrNested. Outside Do, release the write hold first: AcquireRead waits for it.
func (m *RWMutex) AcquireRead(ctx context.Context, reads ...clientv3.Op) (*Hold, error) {
	if call := m.doCallOf(ctx); call != nil && call.to == toWrite {
		return nil, m.handle.Errorf(acquireVerb(queue.Kind{Shared: true}), "%w: a write hold cannot become a read hold: release it and acquire to read, and read again: another process may have written in between", ErrNested)
	}
	if err := m.nested(ctx, queue.Kind{Shared: true}); err != nil {
		return nil, err
	}
	return m.acquire(ctx, queue.Kind{Shared: true}, reads)
}

// TryAcquire takes the lock to write if no other client holds it or waits for it. Otherwise the error is
// ErrTaken, and nothing was written. Its bounds are those of [Mutex.TryAcquire]: 2 s for the transaction
// when etcd does not answer, and 2 s for a lease before.
func (m *RWMutex) TryAcquire(ctx context.Context) (*Hold, error) {
	return m.try(ctx, queue.Kind{})
}

// TryAcquireRead takes the lock to read if no writer holds it or waits for it. Otherwise the error is
// ErrTaken. Its bounds are those of [Mutex.TryAcquire].
func (m *RWMutex) TryAcquireRead(ctx context.Context) (*Hold, error) {
	return m.try(ctx, queue.Kind{Shared: true})
}

// Do is as [Mutex.Do], to write.
func (m *RWMutex) Do(ctx context.Context, f func(context.Context, *Hold) error) error {
	return do(ctx, toWrite, m.Acquire, f)
}

// DoRead is as [Mutex.Do], to read.
func (m *RWMutex) DoRead(ctx context.Context, f func(context.Context, *Hold) error) error {
	return do(ctx, toRead, m.AcquireRead, f)
}

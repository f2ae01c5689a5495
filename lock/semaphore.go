package lock

import (
	"context"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/queue"
)

// Semaphore is a lock with up to size holders at a time. The first to come is the first to hold: a call
// that takes much is not overtaken by calls that take little. Its methods may be called from any
// goroutine, and each hold has its own entry in etcd.
//
// To change the size of a name, deploy clients with another size. While the queue has entries of several
// sizes, each entry waits until it and those ahead of it fit into the smallest of their sizes. So a
// smaller size counts from the first client that has it, and a larger one once the entries with the
// smaller one are gone. No holder loses its hold, and no client lets in more than its own size.
//
// A Mutex of the same name, also of clientv3 or etcdctl, takes the whole semaphore. So does any other key
// below the name that is not a Semaphore's.
type Semaphore struct {
	lock
	size int
}

// NewSemaphore returns the semaphore of a name. It sends nothing. An invalid name, or a size that is
// not 1 to 10,000, is ErrInvalid from the first call.
func NewSemaphore(cli *clientv3.Client, name string, size int, opts *SharedOptions) *Semaphore {
	s := &Semaphore{newLock(cli, name, opts), size}
	if size < 1 || size > queue.MostSize {
		s.handle.SetInvalid("the size of the semaphore is %d: want 1 to %d", size, queue.MostSize)
	}
	return s
}

// Acquire waits until there is room for one. Otherwise it is as [Mutex.Acquire].
func (s *Semaphore) Acquire(ctx context.Context, reads ...clientv3.Op) (*Hold, error) {
	return s.AcquireN(ctx, 1, reads...)
}

// AcquireN waits until there is room for n. One Release gives all of them back. If n is not between 1 and
// the semaphore's size, the error is ErrInvalid.
func (s *Semaphore) AcquireN(ctx context.Context, n int, reads ...clientv3.Op) (*Hold, error) {
	kind, err := s.kind(n)
	if err != nil {
		return nil, err
	}
	return s.acquire(ctx, kind, reads)
}

// TryAcquire takes one if there is room and no other call waits. Otherwise the error is ErrTaken. It
// costs a read and a transaction, which take 2 s at most together when etcd does not answer, and 2 s for
// a lease before; see [Mutex.TryAcquire].
func (s *Semaphore) TryAcquire(ctx context.Context) (*Hold, error) { return s.TryAcquireN(ctx, 1) }

// TryAcquireN takes n if there is room and no other call waits. Otherwise the error is ErrTaken.
func (s *Semaphore) TryAcquireN(ctx context.Context, n int) (*Hold, error) {
	kind, err := s.kind(n)
	if err != nil {
		return nil, err
	}
	return s.try(ctx, kind)
}

func (s *Semaphore) kind(n int) (queue.Kind, error) {
	if s.handle.Invalid == nil && (n < 1 || n > s.size) {
		return queue.Kind{}, fmt.Errorf("%w: %d of the semaphore %q: want 1 to %d", ErrInvalid, n, s.handle.Name, s.size)
	}
	return queue.Kind{Weight: n, Size: s.size}, nil
}

// Do is as [Mutex.Do].
func (s *Semaphore) Do(ctx context.Context, f func(context.Context, *Hold) error) error {
	return do(ctx, toWrite, s.Acquire, f)
}

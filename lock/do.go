package lock

import (
	"context"
	"errors"
	"sync/atomic"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/errtext"
	"github.com/etcdkit/etcdkit/internal/queue"
)

// purpose is what a Do or DoRead is for.
type purpose int

const (
	toWrite purpose = iota + 1
	toRead
)

// doCall is a call of Do or DoRead. It is a value of the context that the caller's function gets.
type doCall struct {
	to       purpose
	hold     *Hold
	returned atomic.Bool // the caller's function
}

// contextKey is the key of a lock's doCall in contexts.
type contextKey struct{ of *lock }

// do acquires a lock, calls f while it is held, and releases it.
func do(ctx context.Context, to purpose, acquire func(context.Context, ...clientv3.Op) (*Hold, error), f func(context.Context, *Hold) error) error {
	h, err := acquire(ctx)
	if err != nil {
		return err
	}
	return h.do(ctx, to, f, h.Release)
}

// do calls f while the hold lasts, and then leave, which ends it.
func (h *Hold) do(ctx context.Context, to purpose, f func(context.Context, *Hold) error, leave func(context.Context) error) error {
	call := &doCall{to: to, hold: h}
	ctx = context.WithValue(ctx, contextKey{h.lock}, call)
	lost, err := h.held.RunHeld(ctx, func(ctx context.Context) error {
		defer call.returned.Store(true) // also when f panics: its context may live on
		return f(ctx, h)
	}, leave)
	switch {
	case lost == nil, errors.Is(err, lost), errors.Is(err, ErrUnknown): // ErrLost says that nothing was written
		return err
	case err == nil:
		return lost
	}
	return errtext.Errorf("%w (%w)", err, lost)
}

// doCallOf returns the call of Do or DoRead that ctx comes from, if its hold would keep an Acquire
// waiting; or nil.
func (l *lock) doCallOf(ctx context.Context) *doCall {
	call, _ := ctx.Value(contextKey{l}).(*doCall)
	if call == nil || call.returned.Load() || errors.Is(call.hold.Err(), ErrReleased) {
		return nil
	}
	return call
}

// nested is ErrNested if the caller would wait for itself.
func (l *lock) nested(ctx context.Context, kind queue.Kind) error {
	if l.doCallOf(ctx) == nil {
		return nil
	}
	return l.handle.Errorf(acquireVerb(kind), "%w", ErrNested)
}

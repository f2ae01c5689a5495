package compare

import (
	"context"
	"errors"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"

	"github.com/etcdkit/etcdkit/lock"
)

// Method is one way to change the counter.
type Method struct {
	Lock string // it is done under the lock of this package, or "none"
	Join func(w *Worker) (Change, error)
}

// Locked tells whether no update may be lost.
func (m Method) Locked() bool { return m.Lock != "none" }

// Name is "without lock" or "lock of …".
func (m Method) Name() string {
	if !m.Locked() {
		return "without lock"
	}
	return "lock of " + m.Lock
}

// methods are those that can be compared.
func methods() []Method {
	return []Method{{Lock: "none", Join: unlocked}, {Lock: "clientv3", Join: underClientv3}, {Lock: "etcdkit", Join: underEtcdkit}}
}

// Locks are the names of the methods' locks.
func Locks() []string {
	var names []string
	for _, m := range methods() {
		names = append(names, m.Lock)
	}
	return names
}

// onePut is what the methods are compared with: a writer that is alone cannot be faster.
func onePut(w *Worker) (Change, error) {
	return func(ctx context.Context) (*clientv3.GetResponse, int64, error) {
		put, err := w.Cli.Put(ctx, w.Counter, "0", clientv3.WithLease(w.Lease))
		if err != nil {
			return nil, 0, err
		}
		return new(clientv3.GetResponse), put.Header.Revision, nil
	}, nil
}

// unlocked reads the counter and writes it back changed. What others have written in between is lost.
func unlocked(w *Worker) (Change, error) {
	return func(ctx context.Context) (*clientv3.GetResponse, int64, error) {
		got, err := w.Cli.Get(ctx, w.Counter)
		if err != nil {
			return nil, 0, err
		}
		put, err := w.Cli.Put(ctx, w.Counter, w.Next(got), clientv3.WithLease(w.Lease))
		if err != nil {
			return nil, 0, err
		}
		return got, put.Header.Revision, nil
	}, nil
}

// underEtcdkit reads along with the lock, and writes and releases in one transaction, which fails if the lock was lost.
func underEtcdkit(w *Worker) (Change, error) {
	mutex := lock.New(w.Cli, w.Counter+"-lock", &lock.Options{TTL: TTL})
	w.AtEnd(mutex.Close)
	return func(ctx context.Context) (*clientv3.GetResponse, int64, error) {
		hold, err := mutex.Acquire(ctx, clientv3.OpGet(w.Counter))
		if err != nil {
			return nil, 0, err
		}
		got := hold.Reads()[0]
		put, err := hold.Commit(ctx, clientv3.OpPut(w.Counter, w.Next(got), clientv3.WithLease(w.Lease)))
		if err != nil {
			return nil, 0, err
		}
		return got, put.Header.Revision, nil
	}, nil
}

// underClientv3 is clientv3's lock around the change. If its lease ends, the lock is lost, but then the Put fails, too.
func underClientv3(w *Worker) (Change, error) {
	change, _ := unlocked(w)
	session, err := concurrency.NewSession(w.Cli, concurrency.WithLease(w.Lease))
	mutex := concurrency.NewMutex(session, w.Counter+"-lock")
	return func(ctx context.Context) (read *clientv3.GetResponse, wrote int64, err error) {
		if err := mutex.Lock(ctx); err != nil {
			return nil, 0, err
		}
		defer func() { err = errors.Join(err, mutex.Unlock(ctx)) }()
		return change(ctx)
	}, err
}

package compare

import (
	"context"
	"errors"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"

	"github.com/etcdkit/etcdkit/lock"
)

// Way is a way to change the counter: under the lock of an implementation, or "none".
type Way struct {
	Impl string
	Join func(s *Side) (Change, error)
}

// Locked tells whether no update may be lost.
func (w Way) Locked() bool { return w.Impl != "none" }

// Name is "without lock" or "lock of …".
func (w Way) Name() string {
	if !w.Locked() {
		return "without lock"
	}
	return "lock of " + w.Impl
}

// ways are those that can be compared.
func ways() []Way {
	return []Way{{Impl: "none", Join: unlocked}, {Impl: "clientv3", Join: underClientv3}, {Impl: "etcdkit", Join: underEtcdkit}}
}

// Implementations are the names of the ways.
func Implementations() []string {
	var names []string
	for _, w := range ways() {
		names = append(names, w.Impl)
	}
	return names
}

// onePut is the floor: a writer that is alone cannot be faster than that.
func onePut(s *Side) (Change, error) {
	return func(ctx context.Context) (*clientv3.GetResponse, int64, error) {
		put, err := s.Cli.Put(ctx, s.Counter, "0", clientv3.WithLease(s.Lease))
		if err != nil {
			return nil, 0, err
		}
		return new(clientv3.GetResponse), put.Header.Revision, nil
	}, nil
}

// unlocked reads the counter and writes it back changed. What the other has written in between is lost.
func unlocked(s *Side) (Change, error) {
	return func(ctx context.Context) (*clientv3.GetResponse, int64, error) {
		got, err := s.Cli.Get(ctx, s.Counter)
		if err != nil {
			return nil, 0, err
		}
		put, err := s.Cli.Put(ctx, s.Counter, s.Next(got), clientv3.WithLease(s.Lease))
		if err != nil {
			return nil, 0, err
		}
		return got, put.Header.Revision, nil
	}, nil
}

// underEtcdkit reads along with the lock, and writes and releases in one transaction, which fails if the lock was lost.
func underEtcdkit(s *Side) (Change, error) {
	mutex := lock.New(s.Cli, s.Counter+"-lock", &lock.Options{TTL: TTL})
	s.AtEnd(mutex.Close)
	return func(ctx context.Context) (*clientv3.GetResponse, int64, error) {
		hold, err := mutex.Acquire(ctx, clientv3.OpGet(s.Counter))
		if err != nil {
			return nil, 0, err
		}
		got := hold.Reads()[0]
		put, err := hold.Commit(ctx, clientv3.OpPut(s.Counter, s.Next(got), clientv3.WithLease(s.Lease)))
		if err != nil {
			return nil, 0, err
		}
		return got, put.Header.Revision, nil
	}, nil
}

// underClientv3 is clientv3's lock around the change. If its lease ends, the lock is lost, but then the Put fails, too.
func underClientv3(s *Side) (Change, error) {
	change, _ := unlocked(s)
	session, err := concurrency.NewSession(s.Cli, concurrency.WithLease(s.Lease))
	mutex := concurrency.NewMutex(session, s.Counter+"-lock")
	return func(ctx context.Context) (read *clientv3.GetResponse, wrote int64, err error) {
		if err := mutex.Lock(ctx); err != nil {
			return nil, 0, err
		}
		defer func() { err = errors.Join(err, mutex.Unlock(ctx)) }()
		return change(ctx)
	}, err
}

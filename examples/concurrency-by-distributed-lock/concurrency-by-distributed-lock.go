// An Adder and a Subtractor share a counter in etcd: without a lock updates get lost, with one none.
// Try it: go run ./examples/concurrency-by-distributed-lock -svg counter.svg
package main

import (
	"context"
	"errors"
	"flag"
	"log"
	"os/signal"
	"syscall"

	"github.com/etcdkit/etcdkit/examples/internal/compare"
	"github.com/etcdkit/etcdkit/internal/race"
	"github.com/etcdkit/etcdkit/lock"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
)

// unlocked reads the counter and writes it back changed. What the other has written in between is lost.
func unlocked(s *race.Side) (race.Change, error) {
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

// locked reads along with the lock, and writes and releases in one transaction, which fails if the lock was lost.
func locked(s *race.Side) (race.Change, error) {
	mutex := lock.New(s.Cli, s.Counter+"-lock", &lock.Options{TTL: race.TTL})
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

// theirs is clientv3's lock around the change. Should its lease end, the lock is lost, but then the Put fails, too.
func theirs(s *race.Side) (race.Change, error) {
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

func main() {
	log.SetFlags(0)
	log.SetPrefix("lock: ")
	c := compare.Flags(flag.CommandLine) // -endpoints, -n, -impl and -svg
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	err := c.Run(ctx, race.Contest{Impl: "none", Join: unlocked}, race.Contest{Impl: "clientv3", Join: theirs}, race.Contest{Impl: "etcdkit", Join: locked})
	if err != nil {
		log.Fatal(err)
	}
}

// An Adder and a Subtractor share a counter in etcd: without a lock updates get lost, with it none.
//
// Try it: go run ./examples/concurrency-by-distributed-lock -svg counter.svg
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"github.com/etcdkit/etcdkit/examples/internal/race"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
)

// unlocked reads the counter and writes it back changed. What others have written in between is lost.
func unlocked(ctx context.Context, s *concurrency.Session, counter string, delta int) (u race.Update, err error) {
	got, err := s.Client().Get(ctx, counter)
	if err != nil {
		return u, err
	}
	for _, kv := range got.Kvs { // one, or none before the first update
		u.Read = kv.ModRevision
		if u.Value, err = strconv.Atoi(string(kv.Value)); err != nil {
			return u, err
		}
	}
	u.Value += delta
	put, err := s.Client().Put(ctx, counter, strconv.Itoa(u.Value), clientv3.WithLease(s.Lease()))
	if err != nil {
		return u, err
	}
	u.Wrote = put.Header.Revision
	return u, nil
}

// locked does the same while it alone holds the lock. Should the lease end, the lock is lost, but then the Put fails, too.
func locked(ctx context.Context, s *concurrency.Session, counter string, delta int) (u race.Update, err error) {
	mutex := concurrency.NewMutex(s, counter+"-lock")
	if err := mutex.Lock(ctx); err != nil {
		return u, err
	}
	defer func() { err = errors.Join(err, mutex.Unlock(ctx)) }()
	return unlocked(ctx, s, counter, delta)
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("lock: ")
	endpoints := flag.String("endpoints", "", "etcd at `host:port,…` (default $ETCDKIT_ENDPOINTS or $ETCDCTL_ENDPOINTS, else localhost:2379)")
	n := flag.Uint("n", 50, "`updates` made by each of the two")
	svg := flag.String("svg", "", "draw the counter over time into this `file`, too")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()

	without, err := race.Run(ctx, "without lock", strings.Split(*endpoints, ","), *n, unlocked)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(without)
	with, err := race.Run(ctx, "with lock", strings.Split(*endpoints, ","), *n, locked)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(with)
	if err := race.Draw(*svg, without, with); err != nil {
		log.Fatal(err)
	}
	if with.Counter() != 0 || with.Lost() != 0 {
		log.Fatal("the lock did not protect the counter")
	}
}

// An adder and a subtractor change one counter in etcd, 50 times each: without a lock updates are lost, with
// a lock none.
//
// Try it: go run ./examples/concurrency-by-distributed-lock
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/etcdkit/etcdkit/client"
	"github.com/etcdkit/etcdkit/lease"
	"github.com/etcdkit/etcdkit/lock"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
)

// worker is the adder or the subtractor. Each has a client of its own, as if they were two machines.
type worker struct {
	cli     *clientv3.Client
	keeper  *lease.Keeper
	lease   clientv3.LeaseID // the counter is bound to it, so that no counter stays behind
	counter string           // key
	delta   int              // +1 or -1
	updates []update
}

// update is one change of the counter: the revisions that it read and wrote, and the value that it wrote.
type update struct {
	read, wrote int64
	value       int
}

// next returns the operation that writes the new value, made from the one that was read.
func (w *worker) next(read *clientv3.GetResponse) (u update, put clientv3.Op) {
	for _, kv := range read.Kvs { // one, or none before the first update
		u.read = kv.ModRevision
		u.value, _ = strconv.Atoi(string(kv.Value))
	}
	u.value += w.delta
	return u, clientv3.OpPut(w.counter, strconv.Itoa(u.value), clientv3.WithLease(w.lease))
}

// wrote records an update that etcd has carried out.
func (w *worker) wrote(u update, revision int64) {
	u.wrote = revision
	w.updates = append(w.updates, u)
}

// withoutLock reads the counter and writes it back changed. An update that the other worker made in between
// is overwritten.
func withoutLock(ctx context.Context, w *worker, n int) error {
	for range n {
		read, err := w.cli.Get(ctx, w.counter)
		if err != nil {
			return err
		}
		u, put := w.next(read)
		resp, err := w.cli.Do(ctx, put)
		if err != nil {
			return err
		}
		w.wrote(u, resp.Put().Header.Revision)
	}
	return nil
}

// withClientv3 does the same under the Mutex of clientv3. If its lease ends, the Put fails, too.
func withClientv3(ctx context.Context, w *worker, n int) error {
	session, err := concurrency.NewSession(w.cli, concurrency.WithLease(w.lease))
	if err != nil {
		return err
	}
	defer session.Orphan() // the Keeper revokes the lease
	mutex := concurrency.NewMutex(session, w.counter+"-lock")
	for range n {
		if err := mutex.Lock(ctx); err != nil {
			return err
		}
		err := withoutLock(ctx, w, 1)
		if err := errors.Join(err, mutex.Unlock(ctx)); err != nil {
			return err
		}
	}
	return nil
}

// withEtcdkit reads the counter along with the lock, and writes and releases in one transaction, which fails
// if the lock was lost.
func withEtcdkit(ctx context.Context, w *worker, n int) error {
	mutex := lock.New(w.cli, w.counter+"-lock", &lock.Options{Keeper: w.keeper})
	defer mutex.Close()
	for range n {
		hold, err := mutex.Acquire(ctx, clientv3.OpGet(w.counter))
		if err != nil {
			return err
		}
		u, put := w.next(hold.Reads()[0])
		resp, err := hold.Commit(ctx, put)
		if err != nil {
			return err
		}
		w.wrote(u, resp.Header.Revision)
	}
	return nil
}

// newWorker connects a worker to etcd.
func newWorker(ctx context.Context, endpoints []string, counter string, delta int) (*worker, error) {
	cli, err := client.Dial(ctx, &client.Options{Endpoints: endpoints})
	if err != nil {
		return nil, err
	}
	w := &worker{cli: cli, keeper: lease.NewKeeper(cli, nil), counter: counter, delta: delta}
	l, err := w.keeper.Lease(ctx)
	if err != nil {
		return nil, errors.Join(err, w.close())
	}
	w.lease = l.ID()
	return w, nil
}

// close revokes the lease, which deletes what is bound to it.
func (w *worker) close() error { return errors.Join(w.keeper.Close(), w.cli.Close()) }

// way is one way to change a counter n times.
type way struct {
	name, title string
	change      func(ctx context.Context, w *worker, n int) error
}

// compete lets the adder and the subtractor change a new counter n times each, at the same time.
func compete(ctx context.Context, endpoints []string, n int, by way) (result string, err error) {
	ctx, timeout := context.WithTimeoutCause(ctx, 10*time.Second+time.Duration(2*n)*time.Second, errors.New("etcd is too slow: an update takes more than a second"))
	defer timeout()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	counter := "counter-" + rand.Text()
	adder, err := newWorker(ctx, endpoints, counter, +1)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, adder.close()) }()
	subtractor, err := newWorker(ctx, endpoints, counter, -1)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, subtractor.close()) }()

	start := time.Now()
	var both sync.WaitGroup
	for _, w := range []*worker{adder, subtractor} {
		both.Go(func() {
			if err := by.change(ctx, w, n); err != nil {
				cancel(err)
			}
		})
	}
	both.Wait()
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	each := time.Since(start) / time.Duration(2*n)
	last, lost := outcome(append(adder.updates, subtractor.updates...))
	return fmt.Sprintf("counter %d (want 0) · %d of %d updates lost · %.1f ms each", last, lost, 2*n, each.Seconds()*1000), nil
}

// outcome returns the last value of the counter, and how many updates are not in it. The last value was made
// from an earlier one, which was made from an earlier one still, and so on back to the first: an update that
// is not in this chain is lost.
func outcome(updates []update) (value, lost int) {
	by := make(map[int64]update) // by the revision that they wrote
	var last int64
	for _, u := range updates {
		by[u.wrote] = u
		last = max(last, u.wrote)
	}
	lost = len(updates)
	for revision := last; revision != 0; revision = by[revision].read {
		lost--
	}
	return by[last].value, lost
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("lock: ")
	endpoints := flag.String("endpoints", "", "etcd at `host:port,…` (default $ETCDKIT_ENDPOINTS or $ETCDCTL_ENDPOINTS, else localhost:2379)")
	n := flag.Uint("n", 50, "`updates` made by each of the two")
	only := flag.String("only", "", "only this `way`: none, clientv3 or etcdkit (default all three)")
	flag.Parse()
	ways := []way{
		{"none", "without lock", withoutLock},
		{"clientv3", "lock of clientv3", withClientv3},
		{"etcdkit", "lock of etcdkit", withEtcdkit},
	}
	if *only != "" {
		ways = slices.DeleteFunc(ways, func(w way) bool { return w.name != *only })
	}
	if len(ways) == 0 || *n == 0 || flag.NArg() > 0 {
		log.Printf("-n %d -only %q %s: want at least 1 update, one of none, clientv3 and etcdkit, and no other words", *n, *only, strings.Join(flag.Args(), " "))
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	for _, w := range ways {
		result, err := compete(ctx, strings.Split(*endpoints, ","), int(*n), w)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(w.title + ": " + result)
	}
}

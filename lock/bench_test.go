package lock_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"

	"github.com/etcdkit/etcdkit/client"
	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/lock"
)

func dial(b *testing.B, endpoints []string) *clientv3.Client {
	b.Helper()
	cli, err := client.Dial(b.Context(), &client.Options{Endpoints: endpoints})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { cli.Close() })
	return cli
}

// onePut is the floor: one after the other, on three member processes.
func onePut(b *testing.B, cli *clientv3.Client, n int) time.Duration {
	b.Helper()
	began := time.Now()
	for range n {
		if _, err := cli.Put(b.Context(), "floor", "1"); err != nil {
			b.Fatal(err)
		}
	}
	return time.Since(began) / time.Duration(n)
}

// compete has clients increment a counter n times in all, and returns the time of one operation.
func compete(b *testing.B, workers, n int, op func(worker int) error) time.Duration {
	b.Helper()
	var working sync.WaitGroup
	began := time.Now()
	for w := range workers {
		working.Go(func() {
			for range n / workers {
				if err := op(w); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	working.Wait()
	return time.Since(began) / time.Duration(n/workers*workers)
}

// BenchmarkIncrement holds the figures: <= 2.2, 2.5 and 2.8 × one Put with 2, 10 and 50 clients.
func BenchmarkIncrement(b *testing.B) {
	c := etcdtest.NewCluster(b, &cluster.Options{Direct: true})
	floor := dial(b, c.Endpoints())
	for _, clients := range []int{2, 10, 50} {
		b.Run(fmt.Sprint(clients), func(b *testing.B) {
			name := fmt.Sprintf("lock%d", clients)
			var all []*lock.Mutex
			for range clients {
				m := lock.New(dial(b, c.Endpoints()), name, nil)
				b.Cleanup(func() { m.Close() })
				all = append(all, m)
			}
			op := func(w int) error { return increment(context.Background(), all[w], name+"-counter") }
			compete(b, clients, 2*clients, op)
			n := max(200, 4*clients)
			var locked, put time.Duration
			for b.Loop() {
				put += onePut(b, floor, n/4)
				locked += compete(b, clients, n, op)
				put += onePut(b, floor, n/4)
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(locked.Seconds()*1000/float64(b.N), "ms/increment")
			b.ReportMetric(float64(2*locked)/float64(put), "×put")
		})
	}
	b.Run("clientv3-2", func(b *testing.B) {
		var all []*concurrency.Mutex
		var clis []*clientv3.Client
		for range 2 {
			cli := dial(b, c.Endpoints())
			s, err := concurrency.NewSession(cli)
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			all, clis = append(all, concurrency.NewMutex(s, "theirs")), append(clis, cli)
		}
		var locked, put time.Duration
		for b.Loop() {
			put += onePut(b, floor, 50)
			locked += compete(b, 2, 50, func(w int) error {
				ctx := context.Background()
				if err := all[w].Lock(ctx); err != nil {
					return err
				}
				n := 0
				resp, err := clis[w].Get(ctx, "theirs-counter")
				if err != nil {
					return err
				}
				for _, kv := range resp.Kvs {
					n, _ = strconv.Atoi(string(kv.Value))
				}
				if _, err := clis[w].Put(ctx, "theirs-counter", strconv.Itoa(n+1)); err != nil {
					return err
				}
				return all[w].Unlock(ctx)
			})
			put += onePut(b, floor, 50)
		}
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(float64(2*locked)/float64(put), "×put")
	})
}

// BenchmarkUncontended holds the figure: Acquire and Release <= 1.05 × two Puts, Acquire and Commit
// the same.
func BenchmarkUncontended(b *testing.B) {
	c := etcdtest.NewCluster(b, &cluster.Options{Direct: true})
	cli := dial(b, c.Endpoints())
	m := lock.New(cli, "lock", nil)
	defer m.Close()
	release(b, acquire(b, m))
	var locked, committed, put time.Duration
	for b.Loop() {
		began := time.Now()
		for range 50 {
			h, err := m.Acquire(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			if err := h.Release(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
		locked += time.Since(began) / 50
		put += onePut(b, cli, 100)
		committed += compete(b, 1, 50, func(int) error { return increment(b.Context(), m, "counter") })
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(locked)/float64(2*put), "release×2put")
	b.ReportMetric(float64(committed)/float64(2*put), "commit×2put")
}

// BenchmarkGoroutines holds the figure: 100 goroutines of one process, <= 1.3 × one Put a hold.
func BenchmarkGoroutines(b *testing.B) {
	c := etcdtest.NewCluster(b, &cluster.Options{Direct: true})
	cli := dial(b, c.Endpoints())
	m := lock.New(cli, "lock", nil)
	defer m.Close()
	var locked, put time.Duration
	for b.Loop() {
		put += onePut(b, cli, 100)
		locked += compete(b, 100, 500, func(int) error { return increment(context.Background(), m, "counter") })
		put += onePut(b, cli, 100)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(2*locked)/float64(put), "×put")
}

// BenchmarkEveryNotDue is a call that is not due, beside the two requests that it makes.
func BenchmarkEveryNotDue(b *testing.B) {
	cli, prefix := etcdtest.New(b)
	m := lock.New(cli, prefix+"job", nil)
	defer m.Close()
	nothing := func(context.Context, *lock.Hold) error { return nil }
	if _, err := m.Every(b.Context(), time.Hour, nothing); err != nil {
		b.Fatal(err)
	}
	id := clientv3.LeaseID(leaseOf(b, cli, prefix+"job.every"))
	var raw, ours time.Duration
	for b.Loop() {
		began := time.Now()
		_, err := cli.Get(b.Context(), prefix+"job.every")
		_, err2 := cli.TimeToLive(b.Context(), id)
		raw += time.Since(began)
		began = time.Now()
		run, err3 := m.Every(b.Context(), time.Hour, nothing)
		ours += time.Since(began)
		if err := errors.Join(err, err2, err3); err != nil || run.Here {
			b.Fatal(err, run)
		}
	}
	b.ReportMetric(float64(ours)/float64(raw), "of-the-requests")
}

package discovery_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/discovery"
	"github.com/etcdkit/etcdkit/etcdtest"
)

// Bounds: Instances 5 ns, Pick 20 ns, both without allocation, at any size.
func BenchmarkView(b *testing.B) {
	cli, prefix := etcdtest.New(b)
	for _, n := range []int{1, 1000, 100_000} {
		for _, weights := range []string{"equal", "mixed"} {
			p := fmt.Sprintf("%s%s/%d/", prefix, weights, n)
			fill(b, cli, p, n, weights == "mixed")
			v, err := discovery.Open(b.Context(), cli, "web", &discovery.Options{Prefix: p})
			if err != nil {
				b.Fatal(err)
			}
			if got := len(v.Instances()); got != n {
				b.Fatalf("%d instances, want %d", got, n)
			}
			b.Run(fmt.Sprintf("Instances/%s/%d", weights, n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					_ = v.Instances()
				}
			})
			b.Run(fmt.Sprintf("Pick/%s/%d", weights, n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, err := v.Pick(); err != nil {
						b.Fatal(err)
					}
				}
			})
			if err := v.Close(); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func fill(b *testing.B, cli *clientv3.Client, prefix string, n int, mixed bool) {
	b.Helper()
	var ops []clientv3.Op
	for i := range n {
		weight := 1
		if mixed {
			weight += i % 5
		}
		ops = append(ops, record(prefix, i, weight))
		if len(ops) == 128 || i == n-1 {
			if _, err := cli.Txn(b.Context()).Then(ops...).Commit(); err != nil {
				b.Fatal(err)
			}
			ops = nil
		}
	}
}

func record(prefix string, i, weight int) clientv3.Op {
	return clientv3.OpPut(fmt.Sprintf("%sweb/%06d", prefix, i),
		fmt.Sprintf(`{"Addr":"10.0.%d.%d:80","Metadata":{"weight":%d,"zone":"%c"}}`, i/250, i%250, weight, 'a'+i%3))
}

// Bounds: 50 ns and no allocation at 10,000 instances, while 1,000 of them change a second. The
// changes' own cost is in the figure, since they take place in this process.
func BenchmarkPickWhileTheListChanges(b *testing.B) {
	cli, prefix := etcdtest.New(b)
	const n, rate = 10_000, 1000
	fill(b, cli, prefix, n, true)
	for _, test := range []struct {
		name string
		opts discovery.Options
	}{
		{"Weighted", discovery.Options{}},
		{"RoundRobin", discovery.Options{Policy: discovery.RoundRobin}},
		{"LeastPending", discovery.Options{Policy: discovery.LeastPending}},
		{"Zone", discovery.Options{Zone: "a"}},
		{"For", discovery.Options{}},
	} {
		test.opts.Prefix = prefix
		v, err := discovery.Open(b.Context(), cli, "web", &test.opts)
		if err != nil {
			b.Fatal(err)
		}
		pick := v.Pick
		if test.name == "For" {
			pick = func() (*discovery.Instance, error) { return v.PickFor("some key") }
		}
		for _, changes := range []int{0, rate} {
			b.Run(fmt.Sprintf("%s/changes=%d", test.name, changes), func(b *testing.B) {
				made := churn(b, cli, prefix, n, changes)
				before, began := made(), time.Now()
				b.ReportAllocs()
				for b.Loop() {
					if _, err := pick(); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(made()-before)/time.Since(began).Seconds(), "changes/s")
			})
		}
		if err := v.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// churn changes instances' weights so often a second until the benchmark's end, twenty in a
// transaction, and counts.
func churn(b *testing.B, cli *clientv3.Client, prefix string, n, rate int) (made func() int64) {
	b.Helper()
	var count atomic.Int64
	if rate == 0 {
		return count.Load
	}
	const together = 20
	ctx, stop := context.WithCancel(b.Context())
	var churning sync.WaitGroup
	churning.Go(func() {
		tick := time.NewTicker(time.Second * together / time.Duration(rate))
		defer tick.Stop()
		for round := 0; ; round++ {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
			var ops []clientv3.Op
			for k := range together {
				ops = append(ops, record(prefix, (round*together+k)*7919%n, 1+round%5))
			}
			if _, err := cli.Txn(ctx).Then(ops...).Commit(); err == nil {
				count.Add(together)
			}
		}
	})
	b.Cleanup(func() {
		stop()
		churning.Wait()
	})
	return count.Load
}

// What it costs until a change of etcd is in the list, and its write alone, in the same loop.
func BenchmarkUntilVisible(b *testing.B) {
	cli, prefix := etcdtest.New(b)
	const n = 1000
	fill(b, cli, prefix, n, true)
	v, err := discovery.Open(b.Context(), cli, "web", &discovery.Options{Prefix: prefix})
	if err != nil {
		b.Fatal(err)
	}
	defer v.Close()
	var put, visible, state time.Duration
	for k := 0; b.Loop(); k++ {
		changed, began := v.Changed(), time.Now()
		if _, err := cli.Do(b.Context(), record(prefix, k%n, 1+k/n%5+k%7)); err != nil {
			b.Fatal(err)
		}
		put += time.Since(began)
		asked := time.Now()
		v.State()
		state += time.Since(asked)
		<-changed
		visible += time.Since(began)
	}
	b.ReportMetric(float64(put.Microseconds())/float64(b.N), "raw-put-µs/op")
	b.ReportMetric(float64(visible.Microseconds())/float64(b.N), "visible-µs/op")
	b.ReportMetric(float64(state.Microseconds())/float64(b.N), "State-µs/op")
}

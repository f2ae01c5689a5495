package discovery_test

import (
	"fmt"
	"testing"

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
		ops = append(ops, clientv3.OpPut(fmt.Sprintf("%sweb/%06d", prefix, i), fmt.Sprintf(`{"Addr":"h:1","Metadata":{"weight":%d}}`, weight)))
		if len(ops) == 128 || i == n-1 {
			if _, err := cli.Txn(b.Context()).Then(ops...).Commit(); err != nil {
				b.Fatal(err)
			}
			ops = nil
		}
	}
}

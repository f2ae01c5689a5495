package grpcresolver_test

import (
	"fmt"
	"testing"

	"github.com/etcdkit/etcdkit/discovery"
	"github.com/etcdkit/etcdkit/discovery/grpcresolver"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/registry"
)

// What an RPC to one of ten servers costs, beside gRPC's own round_robin.
func BenchmarkRPC(b *testing.B) {
	cli, prefix := etcdtest.New(b)
	r := registrar(b, cli, prefix)
	var all []*server
	for n := range 10 {
		all = append(all, serve(b, ""))
		register(b, r, registry.Instance{ID: fmt.Sprint(n), Addr: all[n].addr, Weight: 1 + n%2})
	}
	for _, policy := range []string{"round_robin", grpcresolver.Name} {
		b.Run(policy, func(b *testing.B) {
			conn := dial(b, cli, discovery.Options{Prefix: prefix}, balanced(policy))
			until(b, conn, all...)
			ctx := b.Context()
			b.ReportAllocs()
			for b.Loop() {
				if _, err := call(ctx, conn); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

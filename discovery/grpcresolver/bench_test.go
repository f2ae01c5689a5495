package grpcresolver_test

import (
	"fmt"
	"sync"
	"testing"

	"google.golang.org/grpc/balancer"

	"github.com/etcdkit/etcdkit/discovery"
	"github.com/etcdkit/etcdkit/discovery/grpcresolver"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/registry"
)

// What an RPC to one of ten servers costs, compared with gRPC's own round_robin.
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

// What the balancer's pick alone costs, of ten servers with a connection, and with five of them that
// listen no longer.
func BenchmarkPick(b *testing.B) {
	cli, prefix := etcdtest.New(b)
	r := registrar(b, cli, prefix)
	var all []*server
	for n := range 10 {
		all = append(all, serve(b, ""))
		register(b, r, registry.Instance{ID: fmt.Sprint(n), Addr: all[n].addr, Weight: 1 + n%2})
	}
	conn := dial(b, cli, discovery.Options{Prefix: prefix}, balanced(pickers.Name()))
	for _, stopped := range []int{0, 5} {
		for _, s := range all[:stopped] {
			s.grpc.Stop()
		}
		until(b, conn, all[stopped:]...)
		b.Run(fmt.Sprintf("stopped=%d", stopped), func(b *testing.B) {
			p, info := pickers.last(), balancer.PickInfo{Ctx: b.Context()}
			b.ReportAllocs()
			for b.Loop() {
				picked, err := p.Pick(info)
				if err != nil {
					b.Fatal(err)
				}
				picked.Done(balancer.DoneInfo{BytesReceived: true})
			}
		})
	}
}

// pickers builds balancers as grpcresolver.Name does, and keeps the picker that gRPC was given last.
var pickers = &pickerKeeper{}

func init() { balancer.Register(pickers) } // gRPC wants it so

type pickerKeeper struct {
	mu     sync.Mutex
	picker balancer.Picker
}

func (k *pickerKeeper) Name() string { return "etcdkit_picker_kept" }

func (k *pickerKeeper) Build(cc balancer.ClientConn, opts balancer.BuildOptions) balancer.Balancer {
	return balancer.Get(grpcresolver.Name).Build(keepingConn{cc, k}, opts)
}

func (k *pickerKeeper) last() balancer.Picker {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.picker
}

type keepingConn struct {
	balancer.ClientConn
	k *pickerKeeper
}

func (c keepingConn) UpdateState(s balancer.State) {
	c.k.mu.Lock()
	c.k.picker = s.Picker
	c.k.mu.Unlock()
	c.ClientConn.UpdateState(s)
}

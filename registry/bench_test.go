package registry_test

import (
	"context"
	"fmt"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/registry"
)

// BenchmarkVisible is the time until a consumer sees an instance: raw is a Put on a lease that is there
// already, registrar is a Registrar that has registered before, and each instance is withdrawn again
// outside the measured time.
func BenchmarkVisible(b *testing.B) {
	cli, prefix := etcdtest.New(b)
	seen := cli.Watch(b.Context(), prefix, clientv3.WithPrefix(), clientv3.WithFilterDelete())
	await := func(b *testing.B, key string) {
		for resp := range seen {
			for _, ev := range resp.Events {
				if string(ev.Kv.Key) == key {
					return
				}
			}
		}
		b.Fatal("the watch has ended")
	}
	b.Run("raw", func(b *testing.B) {
		granted, err := cli.Grant(b.Context(), 60)
		if err != nil {
			b.Fatal(err)
		}
		for n := 0; b.Loop(); n++ {
			key := fmt.Sprint(prefix, "raw/", b.N, ".", n)
			if _, err := cli.Put(b.Context(), key, "10.0.0.1:80", clientv3.WithLease(granted.ID)); err != nil {
				b.Fatal(err)
			}
			await(b, key)
		}
	})
	b.Run("registrar", func(b *testing.B) {
		r := registrar(b, cli, prefix)
		for n := 0; b.Loop(); n++ {
			regs, err := r.Register(b.Context(), web(fmt.Sprint(n)))
			if err != nil {
				b.Fatal(err)
			}
			await(b, regs[0].State().Key)
			b.StopTimer()
			if err := regs[0].Close(); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
	})
}

// BenchmarkBatch registers 1,000 instances at once; raw writes as many keys, in transactions of 128.
func BenchmarkBatch(b *testing.B) {
	const size = 1000
	cli, prefix := etcdtest.New(b)
	b.Run("raw", func(b *testing.B) {
		granted, err := cli.Grant(b.Context(), 60)
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			var ops []clientv3.Op
			for n := range size {
				ops = append(ops, clientv3.OpPut(fmt.Sprint(prefix, "raw/", n), "10.0.0.1:80", clientv3.WithLease(granted.ID)))
				if len(ops) == 128 || n == size-1 {
					if _, err := cli.Txn(b.Context()).Then(ops...).Commit(); err != nil {
						b.Fatal(err)
					}
					ops = nil
				}
			}
		}
	})
	b.Run("registrar", func(b *testing.B) {
		r := registrar(b, cli, prefix)
		all := make([]registry.Instance, size)
		for n := range all {
			all[n] = web(fmt.Sprint("batch", n))
		}
		for b.Loop() {
			regs, err := r.Register(b.Context(), all...)
			if err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			withdraw(b, regs)
			b.StartTimer()
		}
	})
}

// registrar returns a Registrar that has a lease already, as it has registered an instance.
func registrar(b *testing.B, cli *clientv3.Client, prefix string) *registry.Registrar {
	r, err := registry.New(cli, &registry.Options{Prefix: prefix})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { r.Close() })
	if _, err := r.Register(b.Context(), web("first")); err != nil {
		b.Fatal(err)
	}
	return r
}

// withdraw closes registrations together.
func withdraw(b *testing.B, regs []*registry.Registration) {
	ended := make(chan error, len(regs))
	for _, reg := range regs {
		go func() { ended <- reg.Shutdown(context.WithoutCancel(b.Context())) }() // ends with etcd's answer
	}
	for range regs {
		if err := <-ended; err != nil {
			b.Fatal(err)
		}
	}
}

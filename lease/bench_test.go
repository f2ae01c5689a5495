package lease_test

import (
	"testing"
	"time"

	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/lease"
)

// What a user pays for a lease that is there.
func BenchmarkWarm(b *testing.B) {
	cli, _ := etcdtest.New(b)
	k := newKeeper(b, cli, nil)
	l := live(b, k)
	b.Run("Lease", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if got, err := k.Lease(b.Context()); got != l || err != nil {
				b.Fatal(got, err)
			}
		}
	})
	b.Run("Reserve and Release", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			got, err := k.Reserve(b.Context(), 1)
			if err != nil {
				b.Fatal(err)
			}
			got.Unreserve(1)
		}
	})
	b.Run("raw TimeToLive", func(b *testing.B) { // how one asks etcd
		b.ReportAllocs()
		for b.Loop() {
			if _, err := cli.TimeToLive(b.Context(), l.ID()); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// A new Keeper's first lease and its end beside a raw Grant and Revoke, one after the other in
// the same loop, so that the machine's moods meet both.
func BenchmarkFirst(b *testing.B) {
	cli, _ := etcdtest.New(b)
	var raw, ours time.Duration
	for b.Loop() {
		begun := time.Now()
		granted, err := cli.Grant(b.Context(), 10)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := cli.Revoke(b.Context(), granted.ID); err != nil {
			b.Fatal(err)
		}
		raw += time.Since(begun)

		begun = time.Now()
		k := lease.NewKeeper(cli, nil)
		if _, err := k.Lease(b.Context()); err != nil {
			b.Fatal(err)
		}
		if err := k.Close(); err != nil {
			b.Fatal(err)
		}
		ours += time.Since(begun)
	}
	b.ReportMetric(float64(raw.Microseconds())/float64(b.N), "raw-µs/op")
	b.ReportMetric(float64(ours.Microseconds())/float64(b.N), "keeper-µs/op")
	b.ReportMetric(float64(ours)/float64(raw), "×raw")
}

package inventory_test

import (
	"fmt"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/inventory"
)

// BenchmarkRead reads 1,000 leases of one key each. Beside it, in the same run, are the same requests made with clientv3, one
// after the other.
func BenchmarkRead(b *testing.B) {
	cli, prefix := etcdtest.New(b)
	for i := range 1000 {
		id := grant(b, cli, 3600)
		put(b, cli, fmt.Sprintf("%s%04d", prefix, i), "", id)
	}
	b.Run("clientv3", func(b *testing.B) {
		for b.Loop() {
			all, err := cli.Leases(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			for _, l := range all.Leases {
				resp, err := cli.TimeToLive(b.Context(), l.ID, clientv3.WithAttachedKeys())
				if err != nil {
					b.Fatal(err)
				}
				for _, key := range resp.Keys {
					if _, err := cli.Get(b.Context(), string(key)); err != nil {
						b.Fatal(err)
					}
				}
			}
		}
	})
	b.Run("inventory", func(b *testing.B) {
		for b.Loop() {
			if inv, err := inventory.Read(b.Context(), cli, nil); err != nil || len(inv.Leases) < 1000 {
				b.Fatal(err)
			}
		}
	})
}

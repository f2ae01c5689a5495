package keys_test

import (
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/keys"
)

// BenchmarkLevel lists ten folders of 100,000 keys in all, and next to it what clientv3 alone can do: read all keys.
// A million keys take TestALevelOfAMillionKeys, of the long tests.
func BenchmarkLevel(b *testing.B) {
	cli, p := etcdtest.New(b)
	putAll(b, cli, tenFolders(p, 100_000)...)
	b.Run("Level", func(b *testing.B) {
		for b.Loop() {
			n := 0
			for _, err := range keys.Level(b.Context(), cli, p, nil) {
				if err != nil {
					b.Fatal(err)
				}
				n++
			}
			if n != len(tenNames) {
				b.Fatalf("got %d children, want %d", n, len(tenNames))
			}
		}
	})
	b.Run("AllKeysByGet", func(b *testing.B) {
		for b.Loop() {
			resp, err := cli.Get(b.Context(), p, clientv3.WithPrefix(), clientv3.WithKeysOnly())
			if err != nil || len(resp.Kvs) != 100_000 {
				b.Fatalf("got %v, want 100,000 keys", err)
			}
		}
	})
}

package mirror_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/mirror"
)

const (
	manyKeys  = 100_000
	valueSize = 200 // about that of a service's instance
)

func manyKey(i int) string { return fmt.Sprintf("services/web/instance-%07d", i) }

// fill writes manyKeys keys, in a server of another process.
func fill(b *testing.B) *clientv3.Client {
	b.Helper()
	c := etcdtest.NewCluster(b, &cluster.Options{Members: 1, Direct: true})
	cli := etcdtest.Client(b, c)
	value := strings.Repeat("v", valueSize)
	var ops []clientv3.Op
	for i := range manyKeys {
		if ops = append(ops, clientv3.OpPut(manyKey(i), value)); len(ops) == 100 {
			if _, err := cli.Txn(b.Context()).Then(ops...).Commit(); err != nil {
				b.Fatal(err)
			}
			ops = ops[:0]
		}
	}
	return cli
}

// pagedGet is the floor: the same bytes in pages of one revision, and nothing done with them.
func pagedGet(b *testing.B, cli *clientv3.Client, page int64) {
	b.Helper()
	from, end := "services/", clientv3.GetPrefixRangeEnd("services/")
	var revision int64
	for {
		resp, err := cli.Get(b.Context(), from, clientv3.WithRange(end), clientv3.WithLimit(page), clientv3.WithRev(revision))
		if err != nil {
			b.Fatal(err)
		}
		revision = resp.Header.Revision
		if !resp.More {
			return
		}
		from = string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
	}
}

// BenchmarkFirstCopy holds the figure: Open <= 1.3 × a paged Get of the same; here of pages that
// suit etcd, and of the 1,000 keys that are usual.
func BenchmarkFirstCopy(b *testing.B) {
	cli := fill(b)
	var open, large, usual time.Duration
	for b.Loop() {
		began := time.Now()
		m, err := mirror.Open(b.Context(), cli, "services/", nil)
		if err != nil {
			b.Fatal(err)
		}
		open += time.Since(began)
		m.Close()
		began = time.Now()
		pagedGet(b, cli, 15_000)
		large += time.Since(began)
		began = time.Now()
		pagedGet(b, cli, 1000)
		usual += time.Since(began)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(open.Seconds()*1000/float64(b.N), "ms/open")
	b.ReportMetric(large.Seconds()*1000/float64(b.N), "ms/get-15000")
	b.ReportMetric(usual.Seconds()*1000/float64(b.N), "ms/get-1000")
	b.ReportMetric(float64(open)/float64(large), "×get-15000")
	b.ReportMetric(float64(open)/float64(usual), "×get-1000")
}

// BenchmarkMemory holds the figure: <= 2 × keys and values.
func BenchmarkMemory(b *testing.B) {
	cli := fill(b)
	for b.Loop() {
		before := heap()
		m, err := mirror.Open(b.Context(), cli, "services/", nil)
		if err != nil {
			b.Fatal(err)
		}
		grown, bytes := heap()-before, 0
		for kv := range m.Snapshot().All() {
			bytes += len(kv.Key) + len(kv.Value)
		}
		b.ReportMetric(float64(grown)/float64(bytes), "×data")
		m.Close()
	}
}

// BenchmarkResync holds the figure: from a cut in which history was compacted to the copy that
// makes up for it, <= 1.3 × a paged Get of a client that was cut off, too.
func BenchmarkResync(b *testing.B) {
	cli := fill(b)
	g := etcdtest.NewGate(b, cli.Endpoints()[0])
	m := open(b, quickClient(b, g.Addr()), "services/", nil)
	other := quickClient(b, g.Addr())
	pagedGet(b, other, 15_000)
	const cut = time.Second
	var resync, raw time.Duration
	for b.Loop() {
		g.SetTarget("")
		put(b, cli, manyKey(0), "1")
		revision := put(b, cli, manyKey(1), "2")
		if _, err := cli.Compact(b.Context(), revision); err != nil {
			b.Fatal(err)
		}
		<-time.After(cut)
		began := time.Now()
		g.SetTarget(cli.Endpoints()[0])
		wait(b, m, revision)
		resync += time.Since(began)

		g.SetTarget("")
		<-time.After(cut)
		began = time.Now()
		g.SetTarget(cli.Endpoints()[0])
		pagedGet(b, other, 15_000)
		raw += time.Since(began)
		wait(b, m, put(b, cli, manyKey(2), "3"))
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(resync.Seconds()*1000/float64(b.N), "ms/resync")
	b.ReportMetric(raw.Seconds()*1000/float64(b.N), "ms/get-15000")
	b.ReportMetric(float64(resync)/float64(raw), "×get-15000")
}

func BenchmarkGet(b *testing.B) {
	cli := fill(b)
	m := open(b, cli, "services/", nil)
	keys := make([]string, 1<<12)
	for i := range keys {
		keys[i] = manyKey(rand.IntN(manyKeys))
	}
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := m.Get(keys[i&(len(keys)-1)]); !ok {
			b.Fatal("missing")
		}
		i++
	}
}

func BenchmarkSnapshot(b *testing.B) {
	cli, prefix := etcdtest.New(b)
	m := open(b, cli, prefix, nil)
	b.ReportAllocs()
	for b.Loop() {
		if m.Snapshot() == nil {
			b.Fatal("nil")
		}
	}
}

// BenchmarkEvents is what a transaction costs the mirror of 100,000 keys, copy-on-write
// included: the time until events written as fast as etcd takes them are all visible, beside
// that of a bare watch for the same events.
func BenchmarkEvents(b *testing.B) {
	cli := fill(b)
	m := open(b, cli, "services/", nil)
	n := 0
	for b.Loop() {
		n++
		wait(b, m, put(b, cli, manyKey(rand.IntN(manyKeys)), "new"))
	}
	mirrored := b.Elapsed() / time.Duration(n)
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	watch := cli.Watch(ctx, "services/", clientv3.WithPrefix())
	began := time.Now()
	for range n {
		revision := put(b, cli, manyKey(rand.IntN(manyKeys)), "new")
		for r := range watch {
			if r.Header.Revision >= revision {
				break
			}
		}
	}
	b.ReportMetric(float64(mirrored)/float64(time.Since(began)/time.Duration(n)), "×put-to-watch")
}

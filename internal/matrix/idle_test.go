package matrix_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/etcdtest"
)

// What Puts of another client cost while 2,000 handles are idle, in Puts without them. The handles are
// one client's, or those of 200 clients, as of 200 processes. All waiters wait for one name.
//
//	go test -run '^$' -bench WithIdle -benchtime 1x ./internal/matrix
func BenchmarkPutsWithIdleHandles(b *testing.B) {
	c := etcdtest.NewCluster(b, &cluster.Options{Members: 1, Direct: true})
	other := etcdtest.Client(b, c)
	const handles = 2000
	for i, r := range rows() {
		if !slices.Contains([]string{"Hold: Mutex", "Waiter: Mutex", "Term", "Candidate", "View"}, r.name) {
			continue
		}
		for _, clients := range []int{1, 200} {
			b.Run(fmt.Sprintf("%s/clients=%d", r.name, clients), func(b *testing.B) {
				ctx, cancel := context.WithTimeout(b.Context(), 2*within)
				defer cancel()
				before := putTime(ctx, b, other)
				closes := make([][]func() error, clients)
				defer func() {
					for _, c := range closes {
						closeAll(c)
					}
				}()
				traffics := make([]*traffic, clients)
				for j := range clients {
					var cli *clientv3.Client
					cli, traffics[j] = dial(b, c.Endpoints())
					p := &place{cli: cli, other: other, name: fmt.Sprint("beside.", i), ttl: 10 * time.Second}
					if r.name == "Hold: Mutex" || r.name == "Term" {
						p.name = fmt.Sprint(p.name, ".", j) // each has a name of its own
					}
					var err error
					if closes[j], err = crowdOf(ctx, r, p, handles/clients, 32); err != nil {
						b.Fatal(err)
					}
				}
				<-time.After(settleTime)
				sent := func() (n int64) {
					for _, tr := range traffics {
						n += tr.requests.Load()
					}
					return n
				}
				requests, began := sent(), time.Now()
				var with []time.Duration
				for b.Loop() {
					with = append(with, putTime(ctx, b, other))
				}
				rate := float64(sent()-requests) / time.Since(began).Seconds()
				for _, c := range closes {
					closeAll(c)
				}
				closes = nil
				slices.Sort(with)
				alone := (before + putTime(ctx, b, other)) / 2
				b.ReportMetric(float64(with[len(with)/2])/float64(alone), "×alone")
				b.ReportMetric(rate, "requests/s")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

// putTime is the median of 2,000 Puts.
func putTime(ctx context.Context, b *testing.B, cli *clientv3.Client) time.Duration {
	b.Helper()
	took := make([]time.Duration, 2000)
	for i := range took {
		began := time.Now()
		if _, err := cli.Put(ctx, "unrelated", "x"); err != nil {
			b.Fatal(err)
		}
		took[i] = time.Since(began)
	}
	slices.Sort(took)
	return took[len(took)/2]
}

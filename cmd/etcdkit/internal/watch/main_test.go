package watch_test

import (
	"context"
	"iter"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/watch"
	"github.com/etcdkit/etcdkit/etcdtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(etcdtest.Main(m)) }

// generous is a bound for what should take far less, on a busy machine.
const generous = time.Minute

func put(t *testing.T, cli *clientv3.Client, key, value string) int64 {
	t.Helper()
	resp, err := cli.Put(t.Context(), key, value)
	if err != nil {
		t.Fatal(err)
	}
	return resp.Header.Revision
}

func del(t *testing.T, cli *clientv3.Client, key string) int64 {
	t.Helper()
	resp, err := cli.Delete(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	return resp.Header.Revision
}

func open(t *testing.T, cli *clientv3.Client, first, end string, rev int64) *watch.Source {
	t.Helper()
	s, err := watch.Open(t.Context(), cli, first, end, rev)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// batches pulls them one by one.
func batches(t *testing.T, s *watch.Source) (next func() watch.Batch) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), generous)
	t.Cleanup(cancel)
	pull, stop := iter.Pull2(s.Batches(ctx))
	t.Cleanup(stop)
	return func() watch.Batch {
		t.Helper()
		b, err, ok := pull()
		if err != nil || !ok {
			t.Fatalf("no batch: %v", err)
		}
		return b
	}
}

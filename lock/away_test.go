package lock_test

import (
	"context"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/internal/means"
	"github.com/etcdkit/etcdkit/lock"
)

// It has no lease yet, and must not wait for one as long as the outage lasts.
func TestTryAcquireDoesNotWaitForALeaseWhileEtcdIsAway(t *testing.T) {
	t.Parallel()
	addr := etcdtest.Addr(t)
	cli, err := clientv3.New(clientv3.Config{Endpoints: []string{addr}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cli.Close() })
	m := lock.New(cli, "away", nil)
	t.Cleanup(func() { m.Close() })
	began := time.Now()
	_, err = m.TryAcquire(context.Background())
	if took := time.Since(began); took > 2500*time.Millisecond && !means.Race {
		t.Errorf("TryAcquire without a deadline: %v, want 2 s at most", took)
	}
	if err == nil || !strings.Contains(err.Error(), addr) || !strings.Contains(err.Error(), "refused") {
		t.Errorf("TryAcquire: got %v, want the endpoint %s and that it refuses", err, addr)
	}
}

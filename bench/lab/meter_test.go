package lab_test

import (
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/etcdkit/etcdkit/bench/lab"
	"github.com/etcdkit/etcdkit/etcdtest"
)

func TestAMeterCountsRequestsWatchesAndWakeUps(t *testing.T) {
	server, prefix := etcdtest.New(t)
	var m lab.Meter
	cli, err := clientv3.New(clientv3.Config{Endpoints: server.Endpoints(), Logger: zap.NewNop(), DialOptions: m.Options()})
	if err != nil {
		t.Fatal(err)
	}
	defer cli.Close()
	seen := cli.Watch(t.Context(), prefix, clientv3.WithPrefix(), clientv3.WithCreatedNotify())
	next := func() {
		t.Helper()
		select {
		case <-seen:
		case <-time.After(10 * time.Second):
			t.Fatal("the watch is silent")
		}
	}
	next() // created: no wake-up
	before := m.Traffic()
	if before != (lab.Traffic{Watches: 1}) {
		t.Errorf("after a watch: got %+v, want one watch", before)
	}
	for range 3 {
		if _, err := cli.Put(t.Context(), prefix+"a", "1"); err != nil {
			t.Fatal(err)
		}
		next()
	}
	if got := m.Traffic().Since(before); got != (lab.Traffic{Requests: 3, Wakes: 3}) {
		t.Errorf("3 puts that are watched: got %+v, want 3 requests and 3 wake-ups", got)
	}
}

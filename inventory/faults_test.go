package inventory_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/inventory"
	"github.com/etcdkit/etcdkit/keys"
)

// intercepted returns another client of the same etcd, whose unary requests go through before.
func intercepted(t testing.TB, cli *clientv3.Client, before func(req any) (after func())) *clientv3.Client {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{
		Endpoints: cli.Endpoints(), Logger: zap.NewNop(),
		DialOptions: []grpc.DialOption{grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, send grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			defer before(req)()
			return send(ctx, method, req, reply, cc, opts...)
		})},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestAReadingAsksOneQuestionALeaseAndFewAtATime(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	const leases = 200
	for range leases {
		id := grant(t, cli, 300)
		put(t, cli, prefix+"k"+string(rune('0'+id%10))+"/"+strings.Repeat("x", int(id%7)+1), "", id)
	}
	var all, now, most, perLease atomic.Int64
	c := intercepted(t, cli, func(req any) func() {
		all.Add(1)
		if _, ok := req.(*pb.LeaseTimeToLiveRequest); ok {
			perLease.Add(1)
		}
		for n := now.Add(1); ; {
			if m := most.Load(); n <= m || most.CompareAndSwap(m, n) {
				break
			}
		}
		return func() { now.Add(-1) }
	})
	inv := read(t, c, &inventory.Options{Concurrency: 4, Prefixes: []string{prefix}})
	if n := perLease.Load(); n != int64(len(inv.Leases)) || n < leases {
		t.Errorf("%d questions about %d leases, want one each", n, len(inv.Leases))
	}
	if rest := all.Load() - perLease.Load(); rest > 2+leases/64+1+1 {
		t.Errorf("%d other requests, want 2 for the list and one for each 64 keys", rest)
	}
	if m := most.Load(); m > 4 {
		t.Errorf("%d requests at a time, want at most 4", m)
	}
}

func TestALeaseThatWasJustGrantedIsListedWhicheverMemberIsAsked(t *testing.T) {
	c := etcdtest.NewCluster(t, &cluster.Options{InProcess: true})
	writer := etcdtest.Client(t, c)
	var readers []*clientv3.Client
	for _, endpoint := range c.Endpoints() {
		cli, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, Logger: zap.NewNop()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cli.Close() })
		readers = append(readers, cli)
	}
	for i := range 60 {
		id := grantOn(t, writer, 300)
		put(t, writer, "k", "", id)
		if l := find(t, read(t, readers[i%len(readers)], nil), id); len(l.Keys) != 1 {
			t.Fatalf("reading %d: got %+v, want the key that was just put", i, l.Keys)
		}
		if _, err := writer.Revoke(bounded(t), id); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAPausedMemberDoesNotHoldUpAReading(t *testing.T) {
	t.Parallel()
	c := etcdtest.NewCluster(t, nil)
	cli := etcdtest.Client(t, c)
	for range 20 {
		grantOn(t, cli, 300)
	}
	for _, member := range c.Names() {
		if _, err := c.Pause(bounded(t), member); err != nil {
			t.Fatal(err)
		}
		if inv := read(t, cli, nil); len(inv.Leases) != 20 {
			t.Errorf("with %s paused: got %d leases, want 20", member, len(inv.Leases))
		}
		if _, err := c.Resume(bounded(t), member); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWithoutAQuorumTheErrorNamesTheEndpoints(t *testing.T) {
	t.Parallel()
	c := etcdtest.NewCluster(t, nil)
	cli := etcdtest.Client(t, c)
	grantOn(t, cli, 300)
	if _, err := c.Pause(bounded(t), "all"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	_, err := inventory.Read(ctx, cli, nil)
	if err == nil || !strings.HasPrefix(err.Error(), "inventory: ") || !strings.Contains(err.Error(), c.Endpoints()[0]) {
		t.Errorf("got %v, want an error that names %s", err, c.Endpoints()[0])
	}
}

func TestAReadingSurvivesACompaction(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	id := grant(t, cli, 300)
	for i := range 200 {
		put(t, cli, prefix+strings.Repeat("x", i+1), "", id)
	}
	var once sync.Once
	c := intercepted(t, cli, func(req any) func() {
		if _, ok := req.(*pb.TxnRequest); !ok {
			return func() {}
		}
		return func() {
			once.Do(func() { // after the first page, and a change
				put(t, cli, prefix+"x", "changed", id)
				resp, err := cli.Get(bounded(t), prefix)
				if err != nil {
					t.Error(err)
				} else if _, err = cli.Compact(bounded(t), resp.Header.Revision); err != nil && !errors.Is(err, rpctypes.ErrCompacted) {
					t.Error(err)
				}
			})
		}
	})
	inv := read(t, c, &inventory.Options{Prefixes: []string{prefix}})
	if l := find(t, inv, id); len(l.Keys) != 200 || l.Keys[0].ValueSize != len("changed") || l.Keys[0].ModRevision > inv.Revision {
		t.Errorf("got %d keys at revision %d, the first one %+v, want 200 with the change: all are of one revision", len(l.Keys), inv.Revision, l.Keys[0])
	}
}

func TestAUserSeesWhatItsRolesPermit(t *testing.T) {
	c := etcdtest.NewCluster(t, &cluster.Options{Members: 1, InProcess: true})
	root := etcdtest.EnableAuth(t, c)
	cli := etcdtest.User(t, c, root, "worker", "mine/")
	acquire(t, cli, "mine/jobs")
	acquire(t, root, "theirs/jobs")
	own, shared := grantOn(t, cli, 300), grantOn(t, root, 300)
	put(t, cli, "mine/a", "", own)
	put(t, root, "mine/b", "", shared)
	put(t, root, "theirs/b", "", shared)

	if all := read(t, root, nil); len(all.Leases) != 4 || len(all.Locks) != 2 || all.Ranges != nil {
		t.Errorf("root: got %d leases, %d locks, ranges %q, want 4, 2, and none", len(all.Leases), len(all.Locks), all.Ranges)
	}
	for what, opts := range map[string]*inventory.Options{"by its role": nil, "by a prefix": {Prefixes: []string{"mine/"}}} {
		inv := read(t, cli, opts)
		if len(inv.Leases) != 3 || len(inv.Locks) != 1 || inv.Locks[0].Name != "mine/jobs" {
			t.Errorf("%s: got %d leases and locks %v, want 3 and mine/jobs", what, len(inv.Leases), inv.Locks)
		}
		if len(inv.Ranges) != 1 || inv.Ranges[0] != keys.Prefix("mine/") {
			t.Errorf("%s: got ranges %q, want mine/", what, inv.Ranges)
		}
		if l := find(t, inv, shared); len(l.Keys) != 1 || l.KeyCount != -1 || l.Granted == 0 {
			t.Errorf("%s: got %+v, want the one key, no count, and its TTL", what, l)
		}
	}
	if l := lookup(t, cli, shared); l.KeyCount != -1 || l.Granted == 0 {
		t.Errorf("Lookup: got %+v, want no count of keys, and its TTL", l)
	}
	cli.Username = ""
	if _, err := inventory.Read(bounded(t), cli, nil); !errors.Is(err, inventory.ErrDenied) {
		t.Errorf("without a name: got %v, want ErrDenied", err)
	}
}

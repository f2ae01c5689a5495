package inventory_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/etcdkit/etcdkit/election"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/inventory"
	"github.com/etcdkit/etcdkit/registry"
)

// refused returns another client of the same etcd, to which refuse answers instead of etcd where it returns an error.
func refused(t testing.TB, cli *clientv3.Client, refuse func(req any) error) *clientv3.Client {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{
		Endpoints: cli.Endpoints(), Logger: zap.NewNop(),
		DialOptions: []grpc.DialOption{grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, send grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			if err := refuse(req); err != nil {
				return err
			}
			return send(ctx, method, req, reply, cc, opts...)
		})},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestAllKeysAreOfOneRevisionThoughTheFirstBatchIsRefused(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	id := grant(t, cli, 300)
	const keys, first = 500, 64
	for i := range keys {
		put(t, cli, fmt.Sprintf("%s%04d", prefix, i), "", id)
	}
	var mu sync.Mutex
	txns := 0
	revisions := make(map[int64]int)
	c := refused(t, cli, func(req any) error {
		txn, ok := req.(*pb.TxnRequest)
		if !ok {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		if txns++; txns <= 1+first { // the batch, and each of its keys alone
			return rpctypes.ErrGRPCPermissionDenied
		}
		revisions[txn.Success[0].GetRequestRange().Revision]++
		return nil
	})
	inv := read(t, c, &inventory.Options{Prefixes: []string{prefix}})
	if l := find(t, inv, id); len(l.Keys) != keys-first {
		t.Errorf("got %d keys, want %d", len(l.Keys), keys-first)
	}
	if len(revisions) != 2 || revisions[0] != 1 || revisions[inv.Revision] == 0 {
		t.Errorf("requests by revision: %v, want one without, and the others at %d", revisions, inv.Revision)
	}
}

func TestOfALargeValueOnlyTheBeginningAndTheSizeAreKept(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	id := grant(t, cli, 300)
	const large = 1 << 20
	e := election.New(cli, prefix+"election", nil)
	t.Cleanup(func() { e.Close() })
	if _, err := e.Campaign(bounded(t), strings.Repeat("v", 20_000)); err != nil {
		t.Fatal(err)
	}
	meta := map[string]string{}
	for i := range 30 {
		meta[fmt.Sprint("k", i)] = strings.Repeat("m", 400)
	}
	r, err := registry.Register(bounded(t), cli, registry.Instance{Service: "web", ID: "a", Addr: "10.0.0.3:80", Metadata: meta}, &registry.Options{Prefix: prefix + "services/"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	for i := range 10 {
		put(t, cli, fmt.Sprint(prefix, "cache/", i), strings.Repeat("x", large), id)
	}
	put(t, cli, registry.DefaultPrefix+"large/text", strings.Repeat("x", 70<<10), id) // raw text, if it were shorter

	opts := &inventory.Options{Prefixes: []string{prefix, registry.DefaultPrefix + "large/"}}
	inv := read(t, cli, opts)
	for _, k := range find(t, inv, id).Keys {
		if k.Kind != inventory.KindPlain || k.ValueSize != large && k.ValueSize != 70<<10 {
			t.Errorf("got %+v, want a plain key with its whole size", k)
		}
	}
	if got, want := kinds(inv, prefix), "services instance"; !slices.Contains(got, want) {
		t.Errorf("got %v, want %s, whose value is longer than 8 KiB", got, want)
	}
	for _, q := range inv.Elections {
		if c := q.Candidates[0]; q.Name == prefix+"election" && c.ValueSize != 20_000 {
			t.Errorf("got a candidate's value of %d bytes, want 20,000", c.ValueSize)
		}
	}
	if n, err := inventory.KeptBytes(bounded(t), cli, opts); err != nil || n > 13*10_000+20_000 {
		t.Errorf("%d bytes of values are kept, %v, want about 8 KiB each of 13, and the instance", n, err)
	}
}

// A lock may have the name of a directory with everything.
func TestAMillionKeysBelowALockAreNotLoaded(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	const plain = 12_000
	name := prefix + "config"
	h := acquire(t, cli, name)
	var ops []clientv3.Op
	for i := range plain {
		ops = append(ops, clientv3.OpPut(fmt.Sprintf("%s/%06d", name, i), "x"))
	}
	for batch := range slices.Chunk(ops, 100) {
		if _, err := cli.Txn(bounded(t)).Then(batch...).Commit(); err != nil {
			t.Fatal(err)
		}
	}
	c := refused(t, cli, func(req any) error {
		ranges := []*pb.RangeRequest{}
		switch req := req.(type) {
		case *pb.RangeRequest:
			ranges = append(ranges, req)
		case *pb.TxnRequest:
			for _, op := range req.Success {
				ranges = append(ranges, op.GetRequestRange())
			}
		}
		for _, r := range ranges {
			if r != nil && r.SortTarget != pb.RangeRequest_KEY {
				t.Errorf("etcd must sort %q by %v, for which it loads all", r.Key, r.SortTarget)
			}
		}
		return nil
	})
	inv := read(t, c, &inventory.Options{Prefixes: []string{prefix}})
	if !slices.Equal(inv.Incomplete, []string{name}) {
		t.Errorf("incomplete: got %q, want %q", inv.Incomplete, name)
	}
	for _, q := range inv.Locks {
		if q.Name == name {
			if q.Count != plain+1 || !slices.ContainsFunc(find(t, inv, q.Entries[0].Lease).Keys, func(k inventory.Key) bool { return k.Key == h.Key() }) {
				t.Errorf("got %d of %d keys, want %d in all, the hold among them", len(q.Entries), q.Count, plain+1)
			}
			return
		}
	}
	t.Errorf("lock %q is missing", name)
}

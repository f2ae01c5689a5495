package registry_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/registry"
)

func TestRecordsShowWhateverIsThere(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	op := operator(t, cli, prefix)
	reg := register(t, cli, web("a"), &registry.Options{Prefix: prefix})
	override(t, op, "a", maintenance)
	for key, value := range map[string]string{
		"web/bad": "{", "web/raw": "value-2379", "db/x": "10.0.0.5:5432", "too/many/parts": "1", ".overrides/db/y": `{"status":"draining"}`, ".overrides/db/z": "junk",
	} {
		if _, err := cli.Put(bounded(t), prefix+key, value); err != nil {
			t.Fatal(err)
		}
	}
	web, err := op.Records(bounded(t), "web")
	if err != nil || len(web) != 3 {
		t.Fatalf("got %+v, %v, want three", web, err)
	}
	a := web[0]
	if a.ID != "a" || a.Lease != reg.State().Lease || a.Override == nil || a.Override.Reason != "disk swap" || a.Instance.Status != registry.Maintenance || time.Since(a.Since) > time.Hour {
		t.Errorf("got %+v", a)
	}
	if bad := web[1]; bad.ID != "bad" || !errors.Is(bad.Err, registry.ErrValue) || bad.Value != "{" {
		t.Errorf("got %+v", bad)
	}
	if raw := web[2]; raw.Instance.Raw != "value-2379" || raw.Lease != 0 {
		t.Errorf("got %+v", raw)
	}
	all, err := op.Records(bounded(t), "")
	if err != nil || len(all) != 5 || all[0].Key != prefix+"db/x" || all[1].Registered() || all[1].ID != "y" {
		t.Errorf("got %+v, %v, want five, the second one an override that waits", all, err)
	}
}

func TestDeregisterDeletesOnlyWhatStaysAway(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	op := operator(t, cli, prefix)
	register(t, cli, web("alive"), &registry.Options{Prefix: prefix, TTL: 3 * time.Second})
	dead, err := cli.Grant(bounded(t), 6)
	if err != nil {
		t.Fatal(err)
	}
	for id, on := range map[string][]clientv3.OpOption{"permanent": nil, "dead": {clientv3.WithLease(dead.ID)}} {
		if _, err := cli.Put(bounded(t), prefix+"web/"+id, "10.0.0.9:80", on...); err != nil {
			t.Fatal(err)
		}
	}
	for id, want := range map[string]error{"permanent": nil, "dead": nil, "alive": registry.ErrExists, "absent": registry.ErrNotRegistered} {
		r, err := op.Deregister(bounded(t), "web", id)
		if !errors.Is(err, want) {
			t.Errorf("%s: got %+v, %v, want %v", id, r, err, want)
		}
		if id == "alive" && !strings.Contains(err.Error(), "pid") {
			t.Errorf("got %v, want the process", err)
		}
		kvs := get(t, cli, prefix+"web/"+id).Kvs
		if there := len(kvs) > 0; there != (id == "alive") {
			t.Errorf("%s: the key is %v", id, kvs)
		}
	}
	r, err := op.Record(bounded(t), "web", "alive")
	if err != nil {
		t.Fatal(err)
	}
	r.ModRevision--
	if err := op.Delete(bounded(t), r); !errors.Is(err, registry.ErrChanged) {
		t.Errorf("an old record: got %v, want ErrChanged", err)
	}
}

// loseFirstDelete lets etcd carry out the first transaction that deletes, and loses its answer.
func loseFirstDelete(all *tries, lost func(context.Context) error) {
	first := true
	var mu sync.Mutex
	all.is(func(ctx context.Context, _ int, req *pb.TxnRequest, do func() error) error {
		err := do()
		mu.Lock()
		loses := first && len(req.Success) > 0 && req.Success[0].GetRequestDeleteRange() != nil
		first = first && !loses
		mu.Unlock()
		if loses {
			return lost(ctx)
		}
		return err
	})
}

func TestADeletionWhoseAnswerIsLostIsStillTheCallersOwn(t *testing.T) {
	for what, lost := range map[string]func(context.Context) error{
		"it does not come":       keptBack,
		"the connection broke":   func(context.Context) error { return status.Error(codes.Unavailable, "the connection broke") },
		"a member gives it up":   func(context.Context) error { return status.Error(codes.Canceled, "context canceled") },
		"a member had no time":   func(context.Context) error { return status.Error(codes.DeadlineExceeded, "context deadline exceeded") },
		"a member has no quorum": func(context.Context) error { return rpctypes.ErrGRPCTimeout },
	} {
		t.Run(what, func(t *testing.T) { deletionWithLostAnswer(t, lost) })
	}
}

func deletionWithLostAnswer(t *testing.T, lost func(context.Context) error) {
	server, prefix := etcdtest.New(t)
	cli, all := tried(t, server)
	op := operator(t, cli, prefix)
	register(t, server, web("a"), &registry.Options{Prefix: prefix})
	override(t, op, "a", maintenance)
	loseFirstDelete(all, lost)
	if was, err := op.ClearOverride(bounded(t), "web", "a"); err != nil || was == nil || was.Reason != maintenance.Reason {
		t.Errorf("ClearOverride: got %+v, %v, want the override that it took back", was, err)
	}
	if _, err := server.Put(bounded(t), prefix+"web/b", "10.0.0.9:80"); err != nil {
		t.Fatal(err)
	}
	r, err := op.Record(bounded(t), "web", "b")
	if err != nil {
		t.Fatal(err)
	}
	loseFirstDelete(all, lost)
	if err := op.Delete(bounded(t), r); err != nil {
		t.Errorf("Delete: got %v, want nil: the key is gone", err)
	}
	if kvs := get(t, server, r.Key).Kvs; len(kvs) > 0 {
		t.Errorf("the key is still there: %v", kvs)
	}
}

func TestAnOverrideThatCannotBeReadIsTakenBack(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	if _, err := cli.Put(bounded(t), prefix+".overrides/web/a", "junk"); err != nil {
		t.Fatal(err)
	}
	if was, err := operator(t, cli, prefix).ClearOverride(bounded(t), "web", "a"); err != nil || was == nil || was.Status != "" {
		t.Errorf("got %+v, %v, want an empty override", was, err)
	}
	if kvs := get(t, cli, prefix+".overrides/web/a").Kvs; len(kvs) > 0 {
		t.Errorf("it is still there: %v", kvs)
	}
}

func TestARecordThatIsNoInstancesIsNotDeleted(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	op := operator(t, cli, prefix)
	for _, key := range []string{prefix + ".overrides/web/waiting", prefix + "other"} {
		if _, err := cli.Put(bounded(t), key, `{"status":"draining"}`); err != nil {
			t.Fatal(err)
		}
	}
	waiting, err := op.Record(bounded(t), "web", "waiting")
	if err != nil {
		t.Fatal(err)
	}
	if err := op.Delete(bounded(t), waiting); !errors.Is(err, registry.ErrNotRegistered) {
		t.Errorf("an override alone: got %v, want ErrNotRegistered", err)
	}
	other := get(t, cli, prefix+"other").Kvs[0]
	for _, key := range []string{prefix + "other", "elsewhere/web/a", ""} {
		if err := op.Delete(bounded(t), registry.Record{Key: key, ModRevision: other.ModRevision}); !errors.Is(err, registry.ErrInvalid) {
			t.Errorf("key %q: got %v, want ErrInvalid", key, err)
		}
	}
	if kvs := get(t, cli, prefix+"other").Kvs; len(kvs) != 1 {
		t.Error("a key that is no instance's was deleted")
	}
}

// intercepted returns another client of the same members, whose unary requests go through it.
func intercepted(t *testing.T, cli *clientv3.Client, it grpc.UnaryClientInterceptor) *clientv3.Client {
	t.Helper()
	own, err := clientv3.New(clientv3.Config{Endpoints: cli.Endpoints(), Logger: zap.NewNop(), DialOptions: []grpc.DialOption{grpc.WithChainUnaryInterceptor(it)}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { own.Close() })
	return own
}

// Neither the end of the caller's time nor a lease that cannot be read says that a process may live.
func TestDeregisterSaysWhyItCouldNotLook(t *testing.T) {
	t.Parallel()
	server, prefix := etcdtest.New(t)
	quiet, err := server.Grant(bounded(t), 60)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := server.Put(bounded(t), prefix+"web/a", "10.0.0.9:80", clientv3.WithLease(quiet.ID)); err != nil {
		t.Fatal(err)
	}
	for what, test := range map[string]struct {
		later func(context.Context) error // of all reads of the lease but the first
		time  time.Duration               // the caller's
		want  error
	}{
		"the caller's time is up": {nil, 1500 * time.Millisecond, context.DeadlineExceeded},
		"etcd refuses the user":   {func(context.Context) error { return rpctypes.ErrGRPCPermissionDenied }, within, rpctypes.ErrPermissionDenied},
		"etcd does not answer":    {keptBack, within, context.DeadlineExceeded},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			reads := 0
			cli := intercepted(t, server, func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
				if _, ok := req.(*pb.LeaseTimeToLiveRequest); ok && test.later != nil {
					mu.Lock()
					reads++
					n := reads
					mu.Unlock()
					if n > 1 {
						return test.later(ctx)
					}
				}
				return invoke(ctx, method, req, reply, cc, opts...)
			})
			ctx, cancel := context.WithTimeout(t.Context(), test.time)
			defer cancel()
			_, err := operator(t, cli, prefix).Deregister(ctx, "web", "a")
			if !errors.Is(err, test.want) || errors.Is(err, registry.ErrExists) || !strings.Contains(err.Error(), fmt.Sprintf("lease %x", int64(quiet.ID))) {
				t.Errorf("got %v, want %v and the lease", err, test.want)
			}
		})
	}
}

// A page of large values would be as long as all of them.
func TestRecordsComeInPagesOfBoundedSizeWithADeadlineEach(t *testing.T) {
	server, prefix := etcdtest.New(t)
	const instances, size = 300, 30 << 10
	value := strings.Repeat("x", size)
	for i := range instances {
		if _, err := server.Put(bounded(t), fmt.Sprintf("%sweb/%04d", prefix, i), value); err != nil {
			t.Fatal(err)
		}
	}
	var mu sync.Mutex
	var last time.Time
	pages, largest := 0, 0
	cli := intercepted(t, server, func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		err := invoke(ctx, method, req, reply, cc, opts...)
		if resp, ok := reply.(*pb.RangeResponse); ok {
			mu.Lock()
			defer mu.Unlock()
			pages, largest = pages+1, max(largest, len(resp.Kvs)*size)
			end, _ := ctx.Deadline()
			if !end.After(last) {
				t.Error("two pages have one deadline, want one each")
			}
			last = end
		}
		return err
	})
	ctx, cancel := context.WithTimeout(t.Context(), 10*within) // longer than the operator's own bound
	defer cancel()
	all, err := operator(t, cli, prefix).Records(ctx, "")
	if err != nil || len(all) != instances || all[instances-1].Key != fmt.Sprintf("%sweb/%04d", prefix, instances-1) {
		t.Errorf("got %d records, %v, want %d", len(all), err, instances)
	}
	if largest > 4<<20 || pages < 3 {
		t.Errorf("%d pages, the largest of %d bytes, want several of 3 MiB at most", pages, largest)
	}
}

func TestRecordsSurviveACompactionBetweenTwoPages(t *testing.T) {
	server, prefix := etcdtest.Client(t, etcdtest.NewCluster(t, &cluster.Options{Members: 1, InProcess: true})), registry.DefaultPrefix
	const instances = 250
	for i := range instances {
		if _, err := server.Put(bounded(t), fmt.Sprintf("%sweb/%04d", prefix, i), "10.0.0.9:80"); err != nil {
			t.Fatal(err)
		}
	}
	var once sync.Once
	cli := intercepted(t, server, func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		err := invoke(ctx, method, req, reply, cc, opts...)
		if _, ok := reply.(*pb.RangeResponse); ok {
			once.Do(func() { // after the first page, and a change
				resp, err := server.Put(bounded(t), prefix+"web/0000", "10.0.0.9:81")
				if err == nil {
					_, err = server.Compact(bounded(t), resp.Header.Revision)
				}
				if err != nil && !errors.Is(err, rpctypes.ErrCompacted) {
					t.Error(err)
				}
			})
		}
		return err
	})
	all, err := operator(t, cli, prefix).Records(bounded(t), "web")
	if err != nil || len(all) != instances || all[0].Value != "10.0.0.9:81" {
		t.Errorf("got %d records, %v, want %d with the change: all are of one revision", len(all), err, instances)
	}
}

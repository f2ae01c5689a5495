package registry_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/internal/means"
	"github.com/etcdkit/etcdkit/registry"
)

// backWithin deletes a key and fails unless it is there again in time.
func backWithin(t *testing.T, cli *clientv3.Client, key string, most time.Duration) {
	t.Helper()
	deleted, err := cli.Delete(bounded(t), key)
	if err != nil || deleted.Deleted != 1 {
		t.Fatalf("void: deleted %+v, %v", deleted, err)
	}
	began := time.Now()
	eventually(t, cli, key, deleted.Header.Revision, isPut)
	took := time.Since(began)
	t.Logf("back after %v", took)
	if took > most && !means.Race {
		t.Errorf("back after %v, want %v", took, most)
	}
}

func TestWhatHappenedWhileAWatchWasBrokenIsLookedForWhenItIsOpenAgain(t *testing.T) {
	shared, prefix := etcdtest.New(t)
	cli, rig := rigged(t, shared)
	register(t, cli, web("a"), &registry.Options{Prefix: prefix, TTL: time.Minute})
	rig.is(broken)
	backWithin(t, shared, prefix+"web/a", 3*time.Second)
}

// More than eight instances of a service are watched by its prefix.
func TestABrokenWatchOfAWholeServiceIsNoGapEither(t *testing.T) {
	shared, prefix := etcdtest.New(t)
	cli, rig := rigged(t, shared)
	r, err := registry.New(cli, &registry.Options{Prefix: prefix, TTL: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var all []registry.Instance
	for _, id := range []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"} {
		all = append(all, web(id))
	}
	if _, err := r.Register(bounded(t), all...); err != nil {
		t.Fatal(err)
	}
	rig.is(broken)
	backWithin(t, shared, prefix+"web/d", 3*time.Second)
}

// Nobody says anything: the watch has fallen silent without an error.
func TestKeysAreLookedAtThoughTheirWatchIsSilent(t *testing.T) {
	shared, prefix := etcdtest.New(t)
	cli, rig := rigged(t, shared)
	register(t, cli, web("a"), registry.VerifyEvery(&registry.Options{Prefix: prefix, TTL: time.Minute}, time.Second))
	rig.is(deaf)
	backWithin(t, shared, prefix+"web/a", 3*time.Second)
}

func TestADeletionBeforeTheWatchIsOpenIsNotMissed(t *testing.T) {
	shared, prefix := etcdtest.New(t)
	cli, rig := rigged(t, shared)
	release := rig.hold()
	defer release()
	register(t, cli, web("a"), &registry.Options{Prefix: prefix, TTL: time.Minute})
	deleted, err := shared.Delete(bounded(t), prefix+"web/a")
	if err != nil || deleted.Deleted != 1 {
		t.Fatalf("void: deleted %+v, %v", deleted, err)
	}
	release()
	began := time.Now()
	eventually(t, shared, prefix+"web/a", deleted.Header.Revision, isPut)
	if took := time.Since(began); took > 3*time.Second && !means.Race {
		t.Errorf("back after %v, want 3 s", took)
	}
}

func TestAWatchThatEndsAtOnceEachTimeIsNotAskedForEverFaster(t *testing.T) {
	t.Parallel()
	shared, prefix := etcdtest.New(t)
	cli, rig := rigged(t, shared)
	register(t, cli, web("a"), &registry.Options{Prefix: prefix, TTL: time.Minute})
	rig.is(func(resp *pb.WatchResponse) { // every watch ends at once, without an event
		resp.Events, resp.Canceled, resp.CancelReason = nil, true, "etcdserver: no leader"
	})
	if _, err := shared.Delete(bounded(t), prefix+"web/a"); err != nil {
		t.Fatal(err)
	}
	for ctx := bounded(t); rig.watches() < 4; {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("%d watches were asked for, want it to go on", rig.watches())
		}
	}
	before := rig.watches()
	<-time.After(3 * time.Second) // in which a watch that spins is asked for hundreds of times
	if n := rig.watches() - before; n > 12 {
		t.Errorf("%d watches in 3 s, want ever fewer", n)
	}
	at := get(t, shared, prefix+"web/a").Header.Revision
	rig.is(nil)
	eventually(t, shared, prefix+"web/a", at-1, isPut)
}

// Two transactions are under way. The answer to the first is late, and the watch begins with the second.
func TestAKeyThatIsDeletedBeforeItsServicesWatchBeginsIsLookedAt(t *testing.T) {
	shared, prefix := etcdtest.New(t)
	var all []registry.Instance
	for n := range 200 {
		all = append(all, web(fmt.Sprintf("%03d", n)))
	}
	deleted, answered := make(chan struct{}), make(chan struct{})
	var once sync.Once // a transaction without an answer is sent again while it is under way
	cli, err := clientv3.New(clientv3.Config{
		Endpoints: shared.Endpoints(), Logger: zap.NewNop(),
		DialOptions: []grpc.DialOption{grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			txn, ok := req.(*pb.TxnRequest)
			if !ok || len(txn.Compare) < 50 {
				return invoke(ctx, method, req, reply, cc, opts...)
			}
			first := string(txn.Compare[0].Key) == prefix+"web/000"
			if !first {
				<-deleted
			}
			err := invoke(ctx, method, req, reply, cc, opts...)
			if first && err == nil {
				once.Do(func() {
					if _, err := shared.Delete(bounded(t), prefix+"web/007"); err != nil {
						t.Error(err)
					}
					close(deleted)
				})
				<-answered
			}
			return err
		})},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer cli.Close()
	r, err := registry.New(cli, &registry.Options{Prefix: prefix})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	result := make(chan error, 1)
	go func() { // waited for below
		_, err := r.Register(bounded(t), all...)
		result <- err
	}()
	for ctx := bounded(t); r.Stats().Registrations[registry.Group{Service: "web", Status: registry.Passing, Registered: true}] == 0; {
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			t.Fatal("the second transaction was not answered")
		}
	}
	close(answered)
	if err := <-result; err != nil {
		t.Fatal(err)
	}
	for ctx := bounded(t); len(get(t, shared, prefix+"web/007").Kvs) == 0; {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			t.Fatal("the key is not there again")
		}
	}
}

func TestAWatchEndsAtAMemberThatHasNoLeader(t *testing.T) {
	shared, prefix := etcdtest.New(t)
	cli, rig := rigged(t, shared)
	register(t, cli, web("a"), &registry.Options{Prefix: prefix})
	for ctx := bounded(t); rig.watches() == 0; {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			t.Fatal("no watch")
		}
	}
	rig.mu.Lock()
	defer rig.mu.Unlock()
	if rig.streams == 0 || rig.careful != rig.streams {
		t.Errorf("%d of %d streams require a leader, want all", rig.careful, rig.streams)
	}
}

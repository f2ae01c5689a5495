package lock_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/lock"
)

// increment adds one to a counter under the lock, by Commit.
func increment(ctx context.Context, m *lock.Mutex, counter string) error {
	h, err := m.Acquire(ctx, clientv3.OpGet(counter))
	if err != nil {
		return err
	}
	n := 0
	for _, kv := range h.Reads()[0].Kvs {
		if n, err = strconv.Atoi(string(kv.Value)); err != nil {
			return err
		}
	}
	_, err = h.Commit(ctx, clientv3.OpPut(counter, strconv.Itoa(n+1)))
	return err
}

func TestNoIncrementIsLost(t *testing.T) {
	for _, test := range []struct{ clients, goroutines, each int }{{2, 1, 100}, {1, 20, 20}, {10, 2, 20}, {30, 1, 10}} {
		t.Run(fmt.Sprintf("%d clients of %d goroutines", test.clients, test.goroutines), func(t *testing.T) {
			shared, prefix := etcdtest.New(t)
			ctx := bounded(t)
			var working sync.WaitGroup
			for range test.clients {
				cli, err := clientv3.New(clientv3.Config{Endpoints: shared.Endpoints()})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { cli.Close() }) // after the Mutex
				m := mutex(t, cli, prefix+"lock")
				for range test.goroutines {
					working.Go(func() {
						for range test.each {
							if err := increment(ctx, m, prefix+"counter"); err != nil {
								t.Error(err)
								return
							}
						}
					})
				}
			}
			working.Wait()
			resp, err := shared.Get(ctx, prefix+"counter")
			if err != nil {
				t.Fatal(err)
			}
			if want := strconv.Itoa(test.clients * test.goroutines * test.each); string(resp.Kvs[0].Value) != want {
				t.Errorf("counter %s, want %s", resp.Kvs[0].Value, want)
			}
			if n := count(t, shared, prefix+"lock/"); n != 0 {
				t.Errorf("%d entries are left in the queue", n)
			}
		})
	}
}

// What a Commit changed is known to the next one without a request; what was changed before, or by
// others, is read.
func TestWhatWasWrittenLastIsReadWhicheverWayItWas(t *testing.T) {
	shared, prefix := etcdtest.New(t)
	var requests atomic.Int32
	cli, err := clientv3.New(clientv3.Config{
		Endpoints: shared.Endpoints(),
		DialOptions: []grpc.DialOption{grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, send grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			requests.Add(1)
			return send(ctx, method, req, reply, cc, opts...)
		})},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer cli.Close()
	x, y := prefix+"x", prefix+"y"
	writer, reader := mutex(t, shared, prefix+"lock"), mutex(t, cli, prefix+"lock")
	seen := func(h *lock.Hold) string {
		var all []string
		for _, r := range h.Reads() {
			text := "nothing"
			if len(r.Kvs) > 0 {
				text = string(r.Kvs[0].Value)
			}
			all = append(all, text)
		}
		return strings.Join(all, " ")
	}
	must := func(_ *clientv3.TxnResponse, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	pass := func(i int, want string, write func(*lock.Hold)) {
		h := acquire(t, writer)
		next := make(chan *lock.Hold)
		go func() { // waited for below
			h, err := reader.Acquire(bounded(t), clientv3.OpGet(x), clientv3.OpGet(y))
			if err != nil {
				t.Error(err)
			}
			next <- h
		}()
		for count(t, shared, prefix+"lock/") != 2 {
		}
		write(h)
		got := <-next
		if seen(got) != want {
			t.Errorf("%d: the next one read %q, want %q", i, seen(got), want)
		}
		release(t, got)
		_ = h.Release(t.Context()) // if it was lost
	}
	for i, step := range []struct {
		want  string
		write func(h *lock.Hold)
	}{
		{"1 1", func(h *lock.Hold) { must(h.Commit(bounded(t), clientv3.OpPut(x, "1"), clientv3.OpPut(y, "1"))) }},
		{"2 2", func(h *lock.Hold) { must(h.Commit(bounded(t), clientv3.OpPut(x, "2"), clientv3.OpPut(y, "2"))) }},
		{"3 2", func(h *lock.Hold) { must(h.Commit(bounded(t), clientv3.OpPut(x, "3"))) }},
		{"nothing 4", func(h *lock.Hold) { must(h.Commit(bounded(t), clientv3.OpDelete(x), clientv3.OpPut(y, "4"))) }},
		{"5 4", func(h *lock.Hold) {
			must(h.Txn(bounded(t)).Then(clientv3.OpPut(x, "5")).Commit())
			release(t, h)
		}},
		{"6 6", func(h *lock.Hold) { must(h.Commit(bounded(t), clientv3.OpPut(x, "6"), clientv3.OpPut(y, "6"))) }},
		{"7 7", func(h *lock.Hold) {
			must(h.Txn(bounded(t)).Then(clientv3.OpPut(x, "7"), clientv3.OpPut(y, "7")).Commit())
			if _, err := shared.Delete(bounded(t), h.Key()); err != nil { // it is lost
				t.Fatal(err)
			}
		}},
		{"8 8", func(h *lock.Hold) { must(h.Commit(bounded(t), clientv3.OpPut(x, "8"), clientv3.OpPut(y, "8"))) }},
	} {
		pass(i, step.want, step.write)
	}
	const passes = 20
	requests.Store(0)
	for i := range passes {
		text := strconv.Itoa(i)
		pass(i, text+" "+text, func(h *lock.Hold) { must(h.Commit(bounded(t), clientv3.OpPut(x, text), clientv3.OpPut(y, text))) })
	}
	if n := requests.Load(); n >= 3*passes {
		t.Errorf("%d requests for %d times in the queue, out of it, and reading: each read was one", n, passes)
	}
}

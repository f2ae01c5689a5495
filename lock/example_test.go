package lock_test

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/client"
	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/lock"
)

// onCluster calls f with a client of a cluster of its own.
func onCluster(f func(context.Context, *clientv3.Client) error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := cluster.Start(ctx, &cluster.Options{Members: 1, InProcess: true, AnyPort: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	cli, err := client.Dial(ctx, &client.Options{Endpoints: c.Endpoints()})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer cli.Close()
	if err := f(ctx, cli); err != nil {
		fmt.Println(err)
	}
}

// One counter, ten goroutines, and nothing is lost: the read rides on Acquire, the write on Commit.
func Example() {
	onCluster(func(ctx context.Context, cli *clientv3.Client) error {
		m := lock.New(cli, "counter-lock", nil)
		defer m.Close()
		var counting sync.WaitGroup
		for range 10 {
			counting.Go(func() {
				h, err := m.Acquire(ctx, clientv3.OpGet("counter"))
				if err != nil {
					fmt.Println(err)
					return
				}
				n := 0
				for _, kv := range h.Reads()[0].Kvs {
					n, _ = strconv.Atoi(string(kv.Value))
				}
				if _, err := h.Commit(ctx, clientv3.OpPut("counter", strconv.Itoa(n+1))); err != nil {
					fmt.Println(err)
				}
			})
		}
		counting.Wait()
		resp, err := cli.Get(ctx, "counter")
		if err != nil {
			return err
		}
		fmt.Printf("%s\n", resp.Kvs[0].Value)
		return nil
	})
	// Output: 10
}

func ExampleRWMutex() {
	onCluster(func(ctx context.Context, cli *clientv3.Client) error {
		m := lock.NewRW(cli, "config", nil)
		defer m.Close()
		one, err := m.AcquireRead(ctx)
		if err != nil {
			return err
		}
		two, err := m.AcquireRead(ctx)
		if err != nil {
			return err
		}
		_, err = m.TryAcquire(ctx)
		fmt.Println("two read; to write:", err != nil)
		if err := one.Release(ctx); err != nil {
			return err
		}
		return two.Release(ctx)
	})
	// Output: two read; to write: true
}

func ExampleSemaphore() {
	onCluster(func(ctx context.Context, cli *clientv3.Client) error {
		s := lock.NewSemaphore(cli, "downloads", 10, nil)
		defer s.Close()
		h, err := s.AcquireN(ctx, 8)
		if err != nil {
			return err
		}
		_, err = s.TryAcquireN(ctx, 3)
		fmt.Println("three more of ten:", err != nil)
		return h.Release(ctx)
	})
	// Output: three more of ten: true
}

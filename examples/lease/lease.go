// Lease binds a key to a lease, renews the lease once, and shows that the key is deleted when the lease ends.
//
// Try it: go run ./examples/lease
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/etcdkit/etcdkit/client"
	clientv3 "go.etcd.io/etcd/client/v3"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("lease: ")
	endpoints := flag.String("endpoints", "", "etcd at `host:port,…` (default $ETCDKIT_ENDPOINTS or $ETCDCTL_ENDPOINTS, else localhost:2379)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := lease(ctx, strings.Split(*endpoints, ",")); err != nil {
		log.Fatal(err)
	}
}

func lease(ctx context.Context, endpoints []string) error {
	cli, err := client.Dial(ctx, &client.Options{Endpoints: endpoints})
	if err != nil {
		return err
	}
	defer cli.Close()
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()

	resp, err := cli.Grant(ctx, 5) // seconds
	if err != nil {
		return fmt.Errorf("grant a lease: %w", err)
	}
	fmt.Printf("lease %x granted, TTL %d s\n", resp.ID, resp.TTL)
	defer func() { // revoking deletes the key at once; ctx may have ended by then
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		cli.Revoke(ctx, resp.ID)
	}()
	put, err := cli.Put(ctx, "fooForLease", "bar", clientv3.WithLease(resp.ID))
	if err != nil {
		return fmt.Errorf("put fooForLease: %w", err)
	}
	fmt.Println("put fooForLease = bar")

	// The TTL counts from the last renewal. A process that keeps a lease renews it about every TTL/3.
	renewed := time.Now()
	ka, err := cli.KeepAliveOnce(ctx, resp.ID)
	if err != nil {
		return fmt.Errorf("renew the lease: %w", err)
	}
	fmt.Println("ttl: ", ka.TTL)

	// Watch from the revision after the Put, so that no change of the key since then is missed.
	for wresp := range cli.Watch(ctx, "fooForLease", clientv3.WithRev(put.Header.Revision+1)) {
		if err := wresp.Err(); err != nil {
			return fmt.Errorf("watch fooForLease: %w", err)
		}
		for _, ev := range wresp.Events {
			if ev.Type == clientv3.EventTypeDelete { // never before the TTL; later if etcd is busy
				fmt.Printf("fooForLease gone %.1f s after the renewal\n", time.Since(renewed).Seconds())
				return nil
			}
		}
	}
	return fmt.Errorf("wait for the end of fooForLease: %w", context.Cause(ctx))
}

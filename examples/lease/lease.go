// Lease binds a key to a lease, renews it once, and shows the key end with it.
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

	granted, err := cli.Grant(ctx, 5)
	if err != nil {
		return fmt.Errorf("grant a lease: %w", err)
	}
	fmt.Printf("lease %x granted, TTL %d s\n", granted.ID, granted.TTL)
	defer func() { // an interrupt takes the key away, too; it has ended ctx, so revoke without it
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		cli.Revoke(ctx, granted.ID)
	}()
	put, err := cli.Put(ctx, "fooForLease", "bar", clientv3.WithLease(granted.ID))
	if err != nil {
		return fmt.Errorf("put fooForLease: %w", err)
	}
	fmt.Println("put fooForLease = bar")

	// The TTL counts from the last renewal; whoever holds on to a lease renews it every TTL/3 or so.
	renewed := time.Now()
	alive, err := cli.KeepAliveOnce(ctx, granted.ID)
	if err != nil {
		return fmt.Errorf("renew the lease: %w", err)
	}
	fmt.Printf("renewed once, TTL %d s\n", alive.TTL)

	// Watch from just after our Put: whatever happened to the key since then, we hear of it.
	for resp := range cli.Watch(ctx, "fooForLease", clientv3.WithRev(put.Header.Revision+1)) {
		if err := resp.Err(); err != nil {
			return fmt.Errorf("watch fooForLease: %w", err)
		}
		for _, ev := range resp.Events {
			if ev.Type == clientv3.EventTypeDelete { // not before the TTL, but later if etcd is busy
				fmt.Printf("fooForLease gone %.1f s after the renewal\n", time.Since(renewed).Seconds())
				return nil
			}
		}
	}
	return fmt.Errorf("wait for the end of fooForLease: %v", context.Cause(ctx))
}

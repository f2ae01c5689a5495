// Basic puts a key and gets it back.
//
// Try it: go run ./examples/basic
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
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("basic: ")
	endpoints := flag.String("endpoints", "", "etcd at `host:port,…` (default $ETCDKIT_ENDPOINTS or $ETCDCTL_ENDPOINTS, else localhost:2379)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := putAndGet(ctx, strings.Split(*endpoints, ",")); err != nil {
		log.Fatal(err)
	}
}

func putAndGet(ctx context.Context, endpoints []string) error {
	cli, err := client.Dial(ctx, &client.Options{Endpoints: endpoints}) // unlike clientv3.New, it returns once a member has answered
	if err != nil {
		return err
	}
	defer cli.Close()

	// Give each call a deadline: without one it can wait for an unreachable cluster for ever.
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if _, err := cli.Put(ctx, "sample_keys", "sample_value"); err != nil {
		return fmt.Errorf("put sample_keys: %w", err)
	}
	resp, err := cli.Get(ctx, "sample_keys")
	if err != nil {
		return fmt.Errorf("get sample_keys: %w", err)
	}

	// The header says which member answered, and the revision: a number that grows by one with every change.
	fmt.Println(resp.Header)
	fmt.Println(resp.Kvs)
	for _, kv := range resp.Kvs { // one key, so one; with clientv3.WithPrefix() as many as there are
		fmt.Printf("%s = %s (version %d)\n", kv.Key, kv.Value, kv.Version)
	}
	return nil
}

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
	cli, err := client.Dial(ctx, &client.Options{Endpoints: endpoints}) // unlike clientv3.New it proves that a member answers
	if err != nil {
		return err
	}
	defer cli.Close()

	// Always with a deadline: a call without one can wait for an unreachable cluster for ever.
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if _, err := cli.Put(ctx, "sample_keys", "sample_value"); err != nil {
		return fmt.Errorf("put sample_keys: %w", err)
	}
	resp, err := cli.Get(ctx, "sample_keys")
	if err != nil {
		return fmt.Errorf("get sample_keys: %w", err)
	}

	// Who answered, and the revision: a number that grows by one with every change in the cluster.
	h := resp.Header
	fmt.Printf("header: cluster %x, member %x, revision %d, raft term %d\n", h.ClusterId, h.MemberId, h.Revision, h.RaftTerm)
	for _, kv := range resp.Kvs { // one key, so one; with clientv3.WithPrefix() as many as there are
		fmt.Printf("%s = %s (version %d, created at revision %d, changed at revision %d)\n",
			kv.Key, kv.Value, kv.Version, kv.CreateRevision, kv.ModRevision)
	}
	return nil
}

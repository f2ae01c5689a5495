// Watch prints every change of a key, or of all keys that begin with it, until it is interrupted.
//
// Try it: go run ./examples/watch -key sample_keys (and in a second terminal: go run ./examples/basic)
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/etcdkit/etcdkit/client"
	clientv3 "go.etcd.io/etcd/client/v3"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("watch: ")
	endpoints := flag.String("endpoints", "", "etcd at `host:port,…` (default $ETCDKIT_ENDPOINTS or $ETCDCTL_ENDPOINTS, else localhost:2379)")
	key := flag.String("key", "sample_keys", "the key to watch")
	prefix := flag.Bool("prefix", false, "watch every key that begins with -key")
	rev := flag.Int64("rev", 0, "start at this past revision (default: from now on)")
	flag.Parse()
	if flag.NArg() > 0 || *rev < 0 {
		log.Printf("-rev %d %s: want a revision of 0 or more, and no other words", *rev, strings.Join(flag.Args(), " "))
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	var ops []clientv3.OpOption
	if *prefix {
		ops = append(ops, clientv3.WithPrefix())
	}
	if err := watch(ctx, strings.Split(*endpoints, ","), *key, *rev, ops...); err != nil && ctx.Err() == nil {
		log.Fatal(err)
	}
}

func watch(ctx context.Context, endpoints []string, key string, rev int64, ops ...clientv3.OpOption) error {
	watcherClient, err := client.Dial(ctx, &client.Options{Endpoints: endpoints})
	if err != nil {
		return err
	}
	defer watcherClient.Close()
	for {
		// Ask for the current revision: a watch from a known revision can be resumed without a gap.
		getCtx, cancel := context.WithTimeout(ctx, 5*time.Second)
		now, err := watcherClient.Get(getCtx, key, append(ops, clientv3.WithCountOnly())...)
		cancel()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil && rev == 0 {
			return err
		}
		if err != nil { // while it watched: the next try goes to another member
			log.Printf("get %q: %v; trying again", key, err)
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
			}
			continue
		}
		if rev == 0 {
			rev = now.Header.Revision + 1
		}
		// clientv3 reconnects by itself. A member that is cut off from the others, however, sends nothing and
		// keeps the watch open. With a leader required it ends the watch, and the loop goes on with another member.
		from := append(ops, clientv3.WithRev(rev), clientv3.WithCreatedNotify())
		rch := watcherClient.Watch(clientv3.WithRequireLeader(ctx), key, from...)
		for wresp := range rch {
			if wresp.Created {
				log.Printf("watching %q from revision %d", key, rev)
			}
			for _, ev := range wresp.Events {
				fmt.Printf("Watcher - %s %q : %q\n", ev.Type, ev.Kv.Key, ev.Kv.Value)
				rev = ev.Kv.ModRevision + 1
			}
			if wresp.CompactRevision != 0 { // etcd no longer has the history that was asked for: go on with the rest
				fmt.Printf("Watcher - compacted at revision %d, resuming at %[1]d instead of %d\n", wresp.CompactRevision, rev)
				rev = wresp.CompactRevision
			}
		}
	}
}

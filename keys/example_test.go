package keys_test

import (
	"context"
	"fmt"
	"log"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/keys"
)

func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	local, err := cluster.Start(ctx, &cluster.Options{Members: 1, InProcess: true, AnyPort: true})
	if err != nil {
		log.Fatal(err)
	}
	defer local.Close()
	cli, err := clientv3.New(clientv3.Config{Endpoints: local.Endpoints(), Logger: zap.NewNop()})
	if err != nil {
		log.Fatal(err)
	}
	defer cli.Close()
	must := func(_ any, err error) {
		if err != nil {
			log.Fatal(err)
		}
	}
	must(cli.Put(ctx, "shop/motd", "hello"))
	must(cli.Put(ctx, "shop/motd", "welcome"))
	must(cli.Put(ctx, "shop/web/1", "10.0.0.1"))
	must(cli.Put(ctx, "shop/web/2", "10.0.0.2"))

	// What is directly below shop/?
	for child, err := range keys.Level(ctx, cli, "shop/", nil) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s: a key: %v, a folder: %v\n", child.Name, child.Key != nil, child.Below != "")
	}

	// A key is deleted, and comes back.
	must(cli.Delete(ctx, "shop/motd"))
	history, err := keys.ReadHistory(ctx, cli, "shop/motd", nil)
	if err != nil {
		log.Fatal(err)
	}
	for _, change := range history.Changes {
		fmt.Printf("%s %q\n", change.Kind, change.Value)
	}
	restored, err := keys.Undelete(ctx, cli, "shop/motd", nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("again: %s\n", restored.Value)

	// All of it under another name.
	counts, err := keys.Copy(ctx, cli, "shop/", cli, "backup/", nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("copied:", counts.Created)
	// Output:
	// motd: a key: true, a folder: false
	// web: a key: false, a folder: true
	// delete ""
	// put "welcome"
	// create "hello"
	// again: welcome
	// copied: 3
}

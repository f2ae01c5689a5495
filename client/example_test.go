package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/etcdkit/etcdkit/client"
	"github.com/etcdkit/etcdkit/cluster"
)

func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	local, err := cluster.Start(ctx, &cluster.Options{Members: 1, InProcess: true, AnyPort: true})
	if err != nil {
		log.Fatal(err)
	}
	defer local.Close()

	cli, err := client.Dial(ctx, &client.Options{Endpoints: local.Endpoints()})
	if err != nil {
		log.Fatal(err)
	}
	defer cli.Close()
	if _, err := cli.Put(ctx, "greeting", "hello"); err != nil {
		log.Fatal(err)
	}
	resp, err := cli.Get(ctx, "greeting")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", resp.Kvs[0].Value)
	// Output: hello
}

func ExampleDial_unreachable() {
	_, err := client.Dial(context.Background(), &client.Options{Endpoints: []string{"127.0.0.1:1"}})
	fmt.Println(err)
	fmt.Println(errors.Is(err, client.ErrUnreachable))
	// Output:
	// client: no member answered: 127.0.0.1:1: connection refused; is a cluster running? try: etcdkit dev
	// true
}

func ExampleEndpoints() {
	endpoints, err := client.Endpoints(&client.Options{Endpoints: []string{" etcd1:2379", "etcd2:2379", "etcd1:2379"}})
	fmt.Println(endpoints, err)
	_, err = client.Endpoints(&client.Options{Endpoints: []string{"etcd1"}})
	fmt.Println(err)
	// Output:
	// [etcd1:2379 etcd2:2379] <nil>
	// client: endpoint "etcd1": has no port; etcd's is 2379
}

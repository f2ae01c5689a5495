package registry_test

import (
	"context"
	"fmt"
	"time"

	"github.com/etcdkit/etcdkit/client"
	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/registry"
)

func Example() {
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

	reg, err := registry.Register(ctx, cli, registry.Instance{Service: "web", ID: "node1", Addr: "10.0.0.7:8080"}, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := reg.Drain(ctx, "deploy"); err != nil {
		fmt.Println(err)
		return
	}
	resp, err := cli.Get(ctx, "/services/web/node1")
	if err != nil {
		fmt.Println(err)
		return
	}
	i, err := registry.Decode("/services/", "/services/web/node1", string(resp.Kvs[0].Value))
	fmt.Println(i.ID, i.Addr, i.Status, i.Reason, err)
	if err := reg.Close(); err != nil {
		fmt.Println(err)
		return
	}
	resp, err = cli.Get(ctx, "/services/web/node1")
	fmt.Println(len(resp.Kvs), "left", err)
	// Output:
	// node1 10.0.0.7:8080 draining deploy <nil>
	// 0 left <nil>
}

package discovery_test

import (
	"context"
	"fmt"
	"time"

	"github.com/etcdkit/etcdkit/client"
	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/discovery"
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

	v, err := discovery.Open(ctx, cli, "web", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer v.Close()
	changed := v.Changed()
	if _, err := cli.Put(ctx, "/services/web/node1", "10.0.0.7:8080"); err != nil { // as others write it
		fmt.Println(err)
		return
	}
	<-changed
	i, err := v.Pick()
	fmt.Println(i.ID, i.Addr, err)
	// Output: node1 10.0.0.7:8080 <nil>
}

package doctor_test

import (
	"context"
	"fmt"
	"time"

	"github.com/etcdkit/etcdkit/client"
	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/doctor"
)

// A health check for a program that depends on etcd.
func ExampleStatus() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	dev, err := cluster.Start(ctx, &cluster.Options{AnyPort: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer dev.Close()
	cli, err := client.Dial(ctx, &client.Options{Endpoints: dev.Endpoints()})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer cli.Close()

	c, err := doctor.Status(ctx, cli, nil)
	if err != nil {
		fmt.Println(err) // no member answered
		return
	}
	fmt.Println(c.Healthy, "of", c.Voters, "voters are healthy; can lose", c.CanLose)

	if _, err := dev.Pause(ctx, "follower"); err != nil {
		fmt.Println(err)
		return
	}
	if c, err = doctor.Status(ctx, cli, nil); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(c.Healthy, "of", c.Voters, "voters are healthy; can lose", c.CanLose)
	fmt.Println(c.Degraded(), len(c.Reasons())) // c.Reasons()[0] is "etcd3 does not answer: no answer for 2s"
	// Output:
	// 3 of 3 voters are healthy; can lose 1
	// 2 of 3 voters are healthy; can lose 0
	// true 1
}

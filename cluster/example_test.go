package cluster_test

import (
	"context"
	"fmt"

	"github.com/etcdkit/etcdkit/cluster"
)

func Example() {
	ctx := context.Background()
	c, err := cluster.Start(ctx, &cluster.Options{AnyPort: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	change, err := c.Partition(ctx, []string{"etcd1"}, []string{"etcd2", "etcd3"})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(change.Did, "·", change.Quorum.Up, "of", change.Quorum.Size, "are together and can lose", change.CanLose, "more")
	change, err = c.Heal(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(change.Did, "·", change.Quorum.Up, "of", change.Quorum.Size)
	// Output:
	// partitioned etcd1 | etcd2,etcd3 · 2 of 3 are together and can lose 0 more
	// network healed · 3 of 3
}

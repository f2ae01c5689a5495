package inventory_test

import (
	"context"
	"fmt"
	"time"

	"github.com/etcdkit/etcdkit/client"
	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/inventory"
	"github.com/etcdkit/etcdkit/lock"
)

func ExampleRead() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := example(ctx); err != nil {
		fmt.Println(err)
	}
	// Output:
	// lock jobs/nightly: holds
	// lease of 10s: 1 key, a lock
}

func example(ctx context.Context) error {
	c, err := cluster.Start(ctx, &cluster.Options{Members: 1, InProcess: true, AnyPort: true})
	if err != nil {
		return err
	}
	defer c.Close()
	cli, err := client.Dial(ctx, &client.Options{Endpoints: c.Endpoints()})
	if err != nil {
		return err
	}
	defer cli.Close()

	m := lock.New(cli, "jobs/nightly", &lock.Options{TTL: 10 * time.Second})
	defer m.Close()
	if _, err := m.Acquire(ctx); err != nil {
		return err
	}

	inv, err := inventory.Read(ctx, cli, nil)
	if err != nil {
		return err
	}
	for _, q := range inv.Locks {
		fmt.Printf("lock %s: %s\n", q.Name, q.Entries[0].Status)
	}
	for _, l := range inv.Leases {
		fmt.Printf("lease of %v: %d key, a %s\n", l.Granted, l.KeyCount, l.Keys[0].Kind)
	}
	return nil
}

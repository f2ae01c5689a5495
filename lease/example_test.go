package lease_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/lease"
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

	keeper := lease.NewKeeper(cli, &lease.Options{TTL: 5 * time.Second})
	defer keeper.Close()
	l, err := keeper.Lease(ctx)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := cli.Put(ctx, "services/web/1", "10.0.0.1:80", clientv3.WithLease(l.ID())); err != nil {
		log.Fatal(err)
	}
	fmt.Println("granted for", keeper.Stats().Leases[0].TTL)

	if _, err := cli.Revoke(ctx, l.ID()); err != nil { // by an operator, say
		log.Fatal(err)
	}
	<-l.Done()
	fmt.Println("revoked:", errors.Is(l.Err(), lease.ErrRevoked))

	next, err := keeper.Lease(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("another one:", next.ID() != l.ID())
	// Output:
	// granted for 5s
	// revoked: true
	// another one: true
}

func ExampleKeeper_Reserve() {
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

	keeper := lease.NewKeeper(cli, nil)
	defer keeper.Close()
	for range 10 { // batches of 128 keys, seven to a lease
		l, err := keeper.Reserve(ctx, 128)
		if err != nil {
			log.Fatal(err)
		}
		defer l.Unreserve(128)
	}
	for _, l := range keeper.Stats().Leases {
		fmt.Println(l.Keys, "keys")
	}
	// Output:
	// 896 keys
	// 384 keys
}

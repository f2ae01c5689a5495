package mirror_test

import (
	"context"
	"fmt"
	"log"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/mirror"
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
	must(cli.Put(ctx, "config/timeout", "2s"))
	must(cli.Put(ctx, "config/retries", "3"))

	m, err := mirror.Open(ctx, cli, "config/", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	for kv := range m.Snapshot().All() {
		fmt.Println(kv.Key, kv.Value)
	}

	changes := m.Changes(ctx, nil)
	must(cli.Txn(ctx).Then(clientv3.OpDelete("config/retries"), clientv3.OpPut("config/timeout", "5s")).Commit())
	for batch, err := range changes {
		if err != nil {
			log.Fatal(err)
		}
		for _, c := range batch.Changes {
			switch {
			case c.New == nil:
				fmt.Println("deleted", c.Key)
			case c.Old == nil:
				fmt.Println("created", c.Key, c.New.Value)
			default:
				fmt.Println("changed", c.Key, c.Old.Value, "to", c.New.Value)
			}
		}
		break
	}
	fmt.Println(m.Snapshot().Len(), "left; fresh:", m.State().Fresh)
	// Output:
	// config/retries 3
	// config/timeout 2s
	// deleted config/retries
	// changed config/timeout 2s to 5s
	// 1 left; fresh: true
}

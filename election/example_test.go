package election_test

import (
	"context"
	"fmt"
	"time"

	"github.com/etcdkit/etcdkit/client"
	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/election"
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

	e := election.New(cli, "jobs/scheduler", nil)
	defer e.Close()
	err = e.Run(ctx, "vm7", func(ctx context.Context, t *election.Term) error {
		l, err := e.Leader(ctx)
		fmt.Println(l.Value, "leads:", l.Token == t.Token())
		return err // and so it resigns
	})
	fmt.Println(err)
	_, err = e.Leader(ctx)
	fmt.Println(err)
	// Output:
	// vm7 leads: true
	// <nil>
	// election: no leader of "jobs/scheduler"
}

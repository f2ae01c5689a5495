// Election elects one leader among all processes that run it. The leader works; the others wait, and take
// over when it ends, fails or loses its term.
//
// Try it: go run ./examples/election (in two terminals; then end the leader with Ctrl-C)
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/etcdkit/etcdkit/client"
	"github.com/etcdkit/etcdkit/election"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("election: ")
	endpoints := flag.String("endpoints", "", "etcd at `host:port,…` (default $ETCDKIT_ENDPOINTS or $ETCDCTL_ENDPOINTS, else localhost:2379)")
	name := flag.String("name", "jobs/scheduler", "the election")
	id := flag.String("id", "", "what the others see of this candidate (default its host and process id)")
	flag.Parse()
	if *id == "" {
		host, _ := os.Hostname()
		*id = fmt.Sprintf("%s:%d", host, os.Getpid())
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := campaign(ctx, strings.Split(*endpoints, ","), *name, *id); err != nil && ctx.Err() == nil {
		log.Fatal(err)
	}
}

func campaign(ctx context.Context, endpoints []string, name, id string) error {
	cli, err := client.Dial(ctx, &client.Options{Endpoints: endpoints})
	if err != nil {
		return err
	}
	defer cli.Close()
	e := election.New(cli, name, &election.Options{TTL: 5 * time.Second, Logger: slog.Default()})
	defer e.Close()

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	observed := make(chan struct{})
	go func() { // ends with ctx
		defer close(observed)
		cancel(observe(ctx, e))
	}()
	// Run campaigns, works while it leads, and campaigns again when a term is lost. It ends with ctx.
	err = e.Run(ctx, id, work)
	cancel(err)
	<-observed
	if cause := context.Cause(ctx); !errors.Is(err, cause) { // observe ended first
		err = errors.Join(err, cause)
	}
	return err
}

// work is what only the leader does. Its ctx ends when the term does. Whatever receives the leader's writes can
// refuse one with a smaller token than it has seen: that one comes from a leader that was replaced.
func work(ctx context.Context, t *election.Term) error {
	fmt.Printf("elected, token %d\n", t.Token())
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			fmt.Printf("working, token %d\n", t.Token())
		case <-ctx.Done():
			fmt.Println("no longer the leader")
			return nil
		}
	}
}

// observe prints each leader, until ctx ends. Any process can, whether or not it is a candidate.
func observe(ctx context.Context, e *election.Election) error {
	for leader, err := range e.Observe(ctx) {
		switch {
		case err != nil:
			return err
		case leader.Vacant():
			fmt.Println("no leader")
		default:
			fmt.Println("the leader is", leader.Value)
		}
	}
	return nil
}

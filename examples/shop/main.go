// Shop is three services that find one another in etcd: front (HTTP) asks catalog (gRPC) for a price
// and stock (HTTP) for what is left. Start any number of each, and end them in any way.
//
// Try it: go run ./examples/shop all (or front, catalog, stock and buy, each in its own terminal)
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/client"
)

// roles are what this program can be, besides all of them.
func roles() map[string]func(context.Context, *clientv3.Client) error {
	return map[string]func(context.Context, *clientv3.Client) error{
		"catalog": catalog, "stock": stock, "front": front, "buy": buy,
	}
}

// all runs two instances of each service and the load generator in one process.
func all(ctx context.Context, cli *clientv3.Client) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error)
	running := []string{"catalog", "catalog", "stock", "stock", "front", "front", "buy"}
	for _, role := range running {
		go func() { ended <- roles()[role](ctx, cli) }()
	}
	var errs []error
	for range running {
		errs = append(errs, <-ended)
		stop() // when one ends, all end
	}
	return errors.Join(errs...)
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("shop: ")
	endpoints := flag.String("endpoints", "", "etcd at `host:port,…` (default $ETCDKIT_ENDPOINTS or $ETCDCTL_ENDPOINTS, else localhost:2379)")
	flag.Usage = func() {
		fmt.Fprint(flag.CommandLine.Output(), "usage: shop [-endpoints …] catalog | stock | front | buy | all\n")
		flag.PrintDefaults()
	}
	flag.Parse()
	run := roles()[flag.Arg(0)]
	if flag.Arg(0) == "all" {
		run = all
	}
	if run == nil || flag.NArg() != 1 {
		fmt.Fprintf(flag.CommandLine.Output(), "shop: want one role after the flags, not %q\n", flag.Args())
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	cli, err := client.Dial(ctx, &client.Options{Endpoints: strings.Split(*endpoints, ",")})
	if err != nil {
		log.Fatal(err)
	}
	if err := errors.Join(run(ctx, cli), cli.Close()); err != nil {
		log.Fatal(err)
	}
}

// requestTimeout is how long a request may take. Leaving may take twice that.
const requestTimeout = 5 * time.Second

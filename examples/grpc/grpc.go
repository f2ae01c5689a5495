// Grpc is a gRPC service whose servers come, fail and leave, and a client that notices none of it.
//
// Try it: go run ./examples/grpc serve (in two terminals), go run ./examples/grpc call (in a third), and then
// end a server with Ctrl-C or kill -9, and start another one.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	grpchealth "google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"

	"github.com/etcdkit/etcdkit/client"
	"github.com/etcdkit/etcdkit/discovery"
	"github.com/etcdkit/etcdkit/discovery/grpcresolver"
	"github.com/etcdkit/etcdkit/health"
	"github.com/etcdkit/etcdkit/registry"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// service is the name under which servers register and clients look for them.
const service = "greeter"

// serviceConfig has two parts: the balancer that chooses by what etcd says, and gRPC's own retries, for the
// calls that a killed server had under way.
const serviceConfig = `{
	"loadBalancingConfig": [{"etcdkit": {}}],
	"methodConfig": [{"name": [{}], "retryPolicy": {
		"maxAttempts": 3, "initialBackoff": "0.01s", "maxBackoff": "0.1s", "backoffMultiplier": 2,
		"retryableStatusCodes": ["UNAVAILABLE"]
	}}]
}`

func main() {
	log.SetFlags(0)
	log.SetPrefix("grpc: ")
	endpoints := flag.String("endpoints", "", "etcd at `host:port,…` (default $ETCDKIT_ENDPOINTS or $ETCDCTL_ENDPOINTS, else localhost:2379)")
	flag.Usage = func() {
		fmt.Fprintf(flag.CommandLine.Output(), "Usage of %s: %[1]s [-endpoints host:port,…] serve|call\n", os.Args[0])
		flag.PrintDefaults()
	}
	flag.Parse()
	run := map[string]func(context.Context, *clientv3.Client) error{"serve": serve, "call": call}[flag.Arg(0)]
	if run == nil || flag.NArg() != 1 {
		log.Printf("%q: want serve or call", strings.Join(flag.Args(), " "))
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	cli, err := client.Dial(ctx, &client.Options{Endpoints: strings.Split(*endpoints, ",")})
	if err != nil {
		log.Fatal(err)
	}
	defer cli.Close()
	if err := run(ctx, cli); err != nil {
		log.Fatal(err)
	}
}

// serve is one server: it appears in etcd when its health check has passed, and leaves without failing a call.
func serve(ctx context.Context, cli *clientv3.Client) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	grpc_health_v1.RegisterHealthServer(server, grpchealth.NewServer()) // a real service registers itself here, too
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }() // ends with Stop
	defer server.Stop()

	reg, err := registry.Register(ctx, cli, registry.Instance{Service: service, Addr: l.Addr().String()}, &registry.Options{
		TTL:          5 * time.Second,
		Checks:       []health.Check{health.GRPC("")},
		AwaitServing: true,
		Logger:       slog.Default(),
	})
	if err != nil {
		return err
	}
	fmt.Println("serving at", l.Addr())
	select {
	case err := <-served:
		return errors.Join(err, reg.Close())
	case <-ctx.Done():
	}

	leaving, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	err = reg.Leave(leaving, func(ctx context.Context) error { // clients send nothing new by now
		defer context.AfterFunc(ctx, server.Stop)() // calls that take too long are cut off
		server.GracefulStop()                       // returns when the calls under way have ended
		return nil
	})
	fmt.Println("left")
	return err
}

// call calls the service 20 times a second and prints each second which servers have answered.
func call(ctx context.Context, cli *clientv3.Client) error {
	conn, err := grpc.NewClient("etcdkit:///"+service,
		grpc.WithResolvers(grpcresolver.New(cli, &grpcresolver.Options{View: discovery.Options{Logger: slog.Default()}})),
		grpc.WithDefaultServiceConfig(serviceConfig),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	greeter := grpc_health_v1.NewHealthClient(conn)
	calls, failed, by := 0, 0, map[string]int{}
	tick := time.NewTicker(time.Second / 20)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			fmt.Printf("%d calls, %d failed\n", calls, failed)
			return nil
		}
		from := new(peer.Peer)
		each, cancel := context.WithTimeout(ctx, 5*time.Second)
		_, err := greeter.Check(each, &grpc_health_v1.HealthCheckRequest{}, grpc.Peer(from), grpc.WaitForReady(true))
		cancel()
		switch {
		case ctx.Err() != nil:
			continue
		case err != nil:
			failed++
			log.Print(err)
		default:
			by[from.Addr.String()]++
		}
		if calls++; calls%20 == 0 {
			fmt.Printf("%d calls, %d failed, the last 20 by %v\n", calls, failed, by)
			clear(by)
		}
	}
}

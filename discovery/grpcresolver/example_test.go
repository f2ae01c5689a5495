package grpcresolver_test

import (
	"context"
	"fmt"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/etcdkit/etcdkit/client"
	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/discovery/grpcresolver"
	"github.com/etcdkit/etcdkit/registry"
)

func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := run(ctx); err != nil {
		fmt.Println(err)
	}
	// Output: SERVING
}

func run(ctx context.Context) error {
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

	// A server: any gRPC server, and its registration.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s := grpc.NewServer()
	healthpb.RegisterHealthServer(s, health.NewServer())
	go s.Serve(l) // ends with GracefulStop
	reg, err := registry.Register(ctx, cli, registry.Instance{Service: "web", Addr: l.Addr().String()}, nil)
	if err != nil {
		return err
	}

	// A client: a target, the Builder, and the balancer.
	conn, err := grpc.NewClient("etcdkit:///web",
		grpc.WithResolvers(grpcresolver.New(cli, nil)),
		grpc.WithDefaultServiceConfig(grpcresolver.ServiceConfig),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	web := healthpb.NewHealthClient(conn)
	answer, err := web.Check(ctx, &healthpb.HealthCheckRequest{})
	if err != nil {
		return err
	}
	fmt.Println(answer.Status)

	// The server leaves, and no RPC is lost: those that it has are finished first.
	return reg.Leave(ctx, func(context.Context) error {
		s.GracefulStop()
		return nil
	})
}

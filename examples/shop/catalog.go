package main

import (
	"context"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	grpchealth "google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/etcdkit/etcdkit/health"
)

// priceMethod is what protoc would generate for: rpc Price(StringValue) returns (StringValue).
const priceMethod = "/shop.Catalog/Price"

var prices = map[string]string{"apple": "0.40", "bread": "3.20", "cheese": "7.90"}

// catalog is the gRPC service: it knows prices.
func catalog(ctx context.Context, cli *clientv3.Client) error {
	srv := grpc.NewServer()
	srv.RegisterService(&grpc.ServiceDesc{
		ServiceName: "shop.Catalog",
		HandlerType: (*any)(nil),
		Methods:     []grpc.MethodDesc{{MethodName: "Price", Handler: price}},
	}, nil)
	grpc_health_v1.RegisterHealthServer(srv, grpchealth.NewServer())
	s := &server{serve: srv.Serve, check: health.GRPC(""), drain: func(ctx context.Context) error {
		defer context.AfterFunc(ctx, srv.Stop)() // calls that take too long are cut off
		srv.GracefulStop()
		return nil
	}}
	return s.run(ctx, cli, "catalog")
}

func price(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	item := new(wrapperspb.StringValue)
	if err := decode(item); err != nil {
		return nil, err
	}
	if p, ok := prices[item.Value]; ok {
		return wrapperspb.String(p), nil
	}
	return nil, status.Errorf(codes.NotFound, "there is no %q", item.Value)
}

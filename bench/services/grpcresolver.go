package services

import (
	"context"
	"net/url"

	"github.com/etcdkit/etcdkit/client"
	"github.com/etcdkit/etcdkit/discovery/grpcresolver"
)

// grpcresolving is etcdkit with its gRPC resolver as the consumer.
type grpcresolving struct{ etcdkit }

func (*grpcresolving) follow(ctx context.Context, endpoints []string, service string) (consumer, error) {
	cli, err := client.Dial(ctx, &client.Options{Endpoints: endpoints})
	if err != nil {
		return nil, err
	}
	return resolve(cli, grpcresolver.New(cli, nil), url.URL{Scheme: grpcresolver.Scheme, Path: "/" + service})
}

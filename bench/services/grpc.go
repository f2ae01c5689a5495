package services

import (
	"context"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/bench/lab"
	"github.com/etcdkit/etcdkit/bench/report"
)

// grpcBound is etcdkit's Put → gRPC's list by raw Put → watch event, at p50.
const grpcBound = 1.5

// puts is a library whose instances come by a Put of their record, so that what differs is the
// way from there to the consumer.
type puts struct {
	library
	label string
}

func (p *puts) name() string { return p.label }

func (p *puts) writer(_ context.Context, endpoints []string, _ time.Duration) (writer, error) {
	cli, err := lab.Client(endpoints...)
	if err != nil {
		return nil, err
	}
	return &putWriter{p, cli}, nil
}

type putWriter struct {
	*puts
	cli *clientv3.Client
}

func (w *putWriter) register(ctx context.Context, service, addr string) (leave func() error, err error) {
	key, value := w.record(service, addr, addr)
	if _, err := w.cli.Put(ctx, key, value); err != nil {
		return nil, err
	}
	return func() error { return withdraw(w.cli, key, clientv3.NoLease) }, nil
}

func (w *putWriter) close() error { return w.cli.Close() }

// grpc measures from a Put until a resolver gives gRPC a list with the instance: in the same place,
// UpdateState, for both resolvers.
func (j *job) grpc(ctx context.Context) (*report.Group, error) {
	g := &report.Group{
		Name:    "grpc",
		Title:   "Put → gRPC: from the call until the resolver gives gRPC the list with the instance",
		Columns: []string{"p50", "p99", "p50 × raw", "p99 × raw", "rounds"},
	}
	err := j.run(ctx, g, []*course{
		{library: &puts{&raw{}, "raw Put → watch"}, service: "grpc0"},
		{library: &puts{&grpcresolving{}, "etcdkit grpcresolver"}, service: "grpc1", bound: grpcBound},
		{library: &puts{&resolving{}, "etcd naming/resolver"}, service: "grpc2"},
	})
	if err != nil {
		return nil, err
	}
	g.Note("Each puts a value of its own library's, without a lease.")
	return g, nil
}

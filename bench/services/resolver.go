package services

import (
	"context"
	"errors"
	"net/url"
	"sync"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/naming/resolver"
	gresolver "google.golang.org/grpc/resolver"

	"github.com/etcdkit/etcdkit/bench/lab"
)

// resolving is naming with its own resolver as the consumer, as a gRPC client has it.
type resolving struct{ naming }

type resolverConsumer struct {
	cli      *clientv3.Client
	resolver gresolver.Resolver
	conn     *conn
}

func (*resolving) follow(_ context.Context, addrs []string, service string) (consumer, error) {
	cli, err := lab.Client(addrs...)
	if err != nil {
		return nil, err
	}
	b, err := resolver.NewBuilder(cli)
	if err != nil {
		return nil, errors.Join(err, cli.Close())
	}
	// The resolver takes one slash away, and our keys begin with one.
	return resolve(cli, b, url.URL{Scheme: "etcd", Path: "/" + root + service})
}

func resolve(cli *clientv3.Client, b gresolver.Builder, target url.URL) (consumer, error) {
	c := &conn{changed: make(chan struct{}, 1)}
	r, err := b.Build(gresolver.Target{URL: target}, c, gresolver.BuildOptions{})
	if err != nil {
		return nil, errors.Join(err, cli.Close())
	}
	return &resolverConsumer{cli, r, c}, nil
}

func (c *resolverConsumer) next(ctx context.Context) error {
	select {
	case <-c.conn.changed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *resolverConsumer) addrs() []string { return c.conn.list() }

func (c *resolverConsumer) close() error {
	c.resolver.Close()
	return c.cli.Close()
}

// conn is what of a gRPC connection a resolver talks to.
type conn struct {
	gresolver.ClientConn // what the resolver does not call
	changed              chan struct{}

	mu    sync.Mutex
	state gresolver.State
}

func (c *conn) UpdateState(s gresolver.State) error {
	c.mu.Lock()
	c.state = s
	c.mu.Unlock()
	select {
	case c.changed <- struct{}{}:
	default:
	}
	return nil
}

func (c *conn) ReportError(error) {} // that there is no list, or none any more

func (c *conn) list() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []string
	for _, e := range c.state.Endpoints {
		for _, a := range e.Addresses {
			list = append(list, a.Addr)
		}
	}
	return list
}

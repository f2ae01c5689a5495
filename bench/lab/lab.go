package lab

import (
	"context"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"github.com/etcdkit/etcdkit/cluster"
)

// Lab is a running cluster and a client of it.
type Lab struct {
	Cluster *cluster.Cluster
	// Client is of all members, for what is no part of a measurement: preparing, checking and
	// tidying up. It is back within a moment of a member's being back.
	Client *clientv3.Client
}

// Open starts three members on free ports, with temporary data and no proxies before them.
func Open(ctx context.Context) (*Lab, error) {
	c, err := cluster.Start(ctx, &cluster.Options{AnyPort: true, Direct: true})
	if err != nil {
		return nil, err
	}
	cli, err := clientv3.New(clientv3.Config{
		Endpoints: c.Endpoints(), Logger: zap.NewNop(),
		// It looks whether etcd is back, and must not be the last to find out.
		DialOptions: []grpc.DialOption{grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 1.5, Jitter: 0.2, MaxDelay: 100 * time.Millisecond},
			MinConnectTimeout: time.Second,
		})},
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lab: client: %w", err), c.Close())
	}
	return &Lab{Cluster: c, Client: cli}, nil
}

// Close ends the cluster and removes its data.
func (l *Lab) Close() error {
	return errors.Join(l.Client.Close(), l.Cluster.Close())
}

// Leader is the endpoint of the leader. Where latencies are compared, all libraries are its
// clients: a put through one member is seen later through another, so each one has the same.
func (l *Lab) Leader() string {
	if e, err := l.Cluster.Endpoint("leader"); err == nil {
		return e
	}
	return l.Cluster.Endpoints()[0]
}

// Client is a plain clientv3 client with its defaults, and silent.
func Client(endpoints ...string) (*clientv3.Client, error) {
	cli, err := clientv3.New(clientv3.Config{Endpoints: endpoints, Logger: zap.NewNop()})
	if err != nil {
		return nil, fmt.Errorf("lab: client of %v: %w", endpoints, err)
	}
	return cli, nil
}

// Outage kills all members, waits, and starts them again. It returns when they serve.
func (l *Lab) Outage(ctx context.Context, length time.Duration) error {
	names := l.Cluster.Names()
	for _, name := range names {
		if _, err := l.Cluster.Kill(ctx, name); err != nil {
			return err
		}
	}
	select {
	case <-time.After(length):
	case <-ctx.Done():
		return ctx.Err()
	}
	for _, name := range names {
		if _, err := l.Cluster.Start(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

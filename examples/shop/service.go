package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/health"
	"github.com/etcdkit/etcdkit/registry"
)

// server is what net/http and gRPC have in common.
type server struct {
	serve func(net.Listener) error
	check health.Check
	drain func(context.Context) error // finishes what is under way
}

// run is the life of an instance: it serves, it is registered once its check has passed, and when ctx ends it
// leaves without failing a request.
func (s *server) run(ctx context.Context, cli *clientv3.Client, service string) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- s.serve(l) }()
	self := registry.Instance{Service: service, Addr: l.Addr().String()}
	reg, err := registry.Register(ctx, cli, self, &registry.Options{
		TTL: 5 * time.Second, Checks: []health.Check{s.check}, AwaitServing: true,
	})
	if err != nil {
		return errors.Join(err, l.Close())
	}
	fmt.Printf("%s at %s is registered\n", service, self.Addr)
	select {
	case err = <-ended: // it cannot serve any longer
		return errors.Join(err, reg.Close())
	case <-ctx.Done():
	}
	leaving, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*requestTimeout)
	defer cancel()
	err = reg.Leave(leaving, s.drain) // consumers stop sending, what is under way is finished, the key goes
	fmt.Printf("%s at %s has left\n", service, self.Addr)
	return err
}

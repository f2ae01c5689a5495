package services

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/client"
	"github.com/etcdkit/etcdkit/discovery"
	"github.com/etcdkit/etcdkit/registry"
)

// etcdkit is registry and discovery, on a client that client.Dial made.
type etcdkit struct {
	shared bool // one Registrar for all, as in a process that has registered before
}

func (e *etcdkit) name() string {
	if e.shared {
		return "etcdkit"
	}
	return "etcdkit, own lease"
}

func (*etcdkit) record(service, id, addr string) (key, value string) {
	host, _ := os.Hostname() // as Register writes it
	i := instance(service, id, addr)
	i.Host, i.PID = host, os.Getpid()
	value, err := i.Encode()
	if err != nil {
		panic(err) // a mistake in this program
	}
	// Register adds which process it is; what stands there differs, and its length does not.
	value = strings.TrimSuffix(value, "}") + `,"Process":"GuMAPnQGqEoXJxWy.7ho4.WXXZV6.tp9xvw"}`
	return root + service + "/" + id, value
}

func instance(service, id, addr string) registry.Instance {
	return registry.Instance{Service: service, ID: id, Addr: addr}
}

func (e *etcdkit) writer(ctx context.Context, endpoints []string, ttl time.Duration) (writer, error) {
	cli, err := client.Dial(ctx, &client.Options{Endpoints: endpoints})
	if err != nil {
		return nil, err
	}
	opts := &registry.Options{TTL: ttl}
	if !e.shared {
		return &ownLease{cli, opts}, nil
	}
	r, err := registry.New(cli, opts)
	if err != nil {
		return nil, errors.Join(err, cli.Close())
	}
	w := &sharedLease{cli, r}
	standing := instance("standing", rand.Text(), address(0)) // it makes the lease, and keeps it
	if _, err := r.Register(ctx, standing); err != nil {
		return nil, errors.Join(err, w.close())
	}
	return w, nil
}

type sharedLease struct {
	cli       *clientv3.Client
	registrar *registry.Registrar
}

func (w *sharedLease) register(ctx context.Context, service, addr string) (leave func() error, err error) {
	regs, err := w.registrar.Register(ctx, instance(service, addr, addr))
	if err != nil {
		return nil, err
	}
	return regs[0].Close, nil
}

func (w *sharedLease) close() error { return errors.Join(w.registrar.Close(), w.cli.Close()) }

type ownLease struct {
	cli  *clientv3.Client
	opts *registry.Options
}

func (w *ownLease) register(ctx context.Context, service, addr string) (leave func() error, err error) {
	reg, err := registry.Register(ctx, w.cli, instance(service, addr, addr), w.opts)
	if err != nil {
		return nil, err
	}
	return reg.Close, nil
}

func (w *ownLease) close() error { return w.cli.Close() }

type viewConsumer struct {
	cli     *clientv3.Client
	view    *discovery.View
	changed <-chan struct{} // taken before the list was read
}

func (*etcdkit) follow(ctx context.Context, endpoints []string, service string) (consumer, error) {
	cli, err := client.Dial(ctx, &client.Options{Endpoints: endpoints})
	if err != nil {
		return nil, err
	}
	v, err := discovery.Open(ctx, cli, service, nil)
	if err != nil {
		return nil, errors.Join(err, cli.Close())
	}
	return &viewConsumer{cli, v, v.Changed()}, nil
}

func (c *viewConsumer) next(ctx context.Context) error {
	select {
	case <-c.changed:
		c.changed = c.view.Changed()
		return nil
	case <-c.view.Done():
		return errEnded
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *viewConsumer) addrs() []string {
	instances := c.view.Instances()
	list := make([]string, 0, len(instances))
	for _, i := range instances {
		list = append(list, i.Addr)
	}
	return list
}

func (c *viewConsumer) close() error { return errors.Join(c.view.Close(), c.cli.Close()) }

package services

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/naming/endpoints"

	"github.com/etcdkit/etcdkit/bench/lab"
)

// naming is etcd's own client/v3/naming/endpoints. Its user grants the lease and keeps it alive.
type naming struct{}

func (*naming) name() string { return "etcd naming" }

func (*naming) record(service, id, addr string) (key, value string) {
	b, err := json.Marshal(struct {
		Op       int
		Addr     string
		Metadata any
	}{Addr: addr}) // as endpoints/internal.Update is
	if err != nil {
		panic(err) // a mistake in this program
	}
	return root + service + "/" + id, string(b)
}

type namingWriter struct {
	cli *clientv3.Client
	ttl time.Duration
}

func (*naming) writer(_ context.Context, addrs []string, ttl time.Duration) (writer, error) {
	cli, err := lab.Client(addrs...)
	if err != nil {
		return nil, err
	}
	return &namingWriter{cli, ttl}, nil
}

// lease is one that is kept alive for as long as the client lives.
func (w *namingWriter) lease(ctx context.Context) (clientv3.LeaseID, error) {
	l, err := w.cli.Grant(ctx, int64(w.ttl.Seconds()))
	if err != nil {
		return 0, err
	}
	answers, err := w.cli.KeepAlive(context.WithoutCancel(ctx), l.ID)
	if err != nil {
		return 0, err
	}
	go func() { // ends with the lease or the client
		for range answers {
		}
	}()
	return l.ID, nil
}

func (w *namingWriter) register(ctx context.Context, service, addr string) (leave func() error, err error) {
	m, err := endpoints.NewManager(w.cli, root+service)
	if err != nil {
		return nil, err
	}
	id, err := w.lease(ctx)
	if err != nil {
		return nil, err
	}
	key := root + service + "/" + addr
	if err := m.AddEndpoint(ctx, key, endpoints.Endpoint{Addr: addr}, clientv3.WithLease(id)); err != nil {
		return nil, err
	}
	return func() error { return withdraw(w.cli, key, id) }, nil
}

func (w *namingWriter) close() error { return w.cli.Close() }

// namingConsumer is a watch channel, and a map as naming/resolver keeps it.
type namingConsumer struct {
	cli     *clientv3.Client
	stop    context.CancelFunc
	updates endpoints.WatchChannel
	list    map[string]*endpoints.Update
}

func (*naming) follow(ctx context.Context, addrs []string, service string) (consumer, error) {
	cli, err := lab.Client(addrs...)
	if err != nil {
		return nil, err
	}
	m, err := endpoints.NewManager(cli, root+service)
	if err != nil {
		return nil, errors.Join(err, cli.Close())
	}
	life, stop := context.WithCancel(context.Background())
	updates, err := m.NewWatchChannel(life)
	if err != nil {
		stop()
		return nil, errors.Join(err, cli.Close())
	}
	return &namingConsumer{cli, stop, updates, make(map[string]*endpoints.Update)}, nil
}

func (c *namingConsumer) next(ctx context.Context) error {
	select {
	case updates, ok := <-c.updates:
		if !ok {
			return errEnded // as naming/resolver's watch does, which returns here
		}
		for _, u := range updates {
			if u.Op == endpoints.Delete {
				delete(c.list, u.Key)
			} else {
				c.list[u.Key] = u
			}
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *namingConsumer) addrs() []string {
	return values(c.list, func(u *endpoints.Update) string { return u.Endpoint.Addr })
}

func (c *namingConsumer) close() error {
	c.stop()
	return c.cli.Close()
}

package services

import (
	"context"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/bench/lab"
)

// raw is the floor: clientv3's own calls, and an address for a value.
type raw struct {
	grant bool   // each instance on a lease of its own
	label string // what of it is measured; default by grant
}

func (r *raw) name() string {
	switch {
	case r.label != "":
		return r.label
	case r.grant:
		return "raw Grant + Put"
	}
	return "raw Put"
}

func (*raw) record(service, id, addr string) (key, value string) {
	return root + service + "/" + id, addr
}

func (r *raw) writer(_ context.Context, endpoints []string, ttl time.Duration) (writer, error) {
	cli, err := lab.Client(endpoints...)
	if err != nil {
		return nil, err
	}
	return &rawWriter{raw: r, cli: cli, ttl: ttl}, nil
}

type rawWriter struct {
	*raw
	cli *clientv3.Client
	ttl time.Duration
}

func (w *rawWriter) register(ctx context.Context, service, addr string) (leave func() error, err error) {
	key, value := w.record(service, addr, addr)
	var opts []clientv3.OpOption
	var id clientv3.LeaseID
	if w.grant {
		l, err := w.cli.Grant(ctx, int64(w.ttl.Seconds()))
		if err != nil {
			return nil, err
		}
		id = l.ID
		opts = append(opts, clientv3.WithLease(id))
	}
	if _, err := w.cli.Put(ctx, key, value, opts...); err != nil {
		return nil, err
	}
	return func() error { return withdraw(w.cli, key, id) }, nil
}

// withdraw deletes a key, with its lease if it has one.
func withdraw(cli *clientv3.Client, key string, id clientv3.LeaseID) error {
	ctx, cancel := context.WithTimeout(context.Background(), lab.Timeout)
	defer cancel()
	if id != clientv3.NoLease {
		_, err := cli.Revoke(ctx, id)
		return err
	}
	_, err := cli.Delete(ctx, key)
	return err
}

func (w *rawWriter) close() error { return w.cli.Close() }

// rawConsumer is a Get and a Watch, and a map.
type rawConsumer struct {
	cli   *clientv3.Client
	watch clientv3.WatchChan
	list  map[string]string // by key
}

func (*raw) follow(ctx context.Context, endpoints []string, service string) (consumer, error) {
	cli, err := lab.Client(endpoints...)
	if err != nil {
		return nil, err
	}
	c := &rawConsumer{cli: cli, list: make(map[string]string)}
	// From now: a watch that starts at a revision waits for the server's loop at first.
	c.watch = cli.Watch(context.Background(), root+service+"/", clientv3.WithPrefix(), clientv3.WithCreatedNotify())
	if err := c.next(ctx); err != nil {
		cli.Close()
		return nil, err
	}
	resp, err := cli.Get(ctx, root+service+"/", clientv3.WithPrefix())
	if err != nil {
		cli.Close()
		return nil, fmt.Errorf("raw: list: %w", err)
	}
	for _, kv := range resp.Kvs {
		c.list[string(kv.Key)] = string(kv.Value)
	}
	return c, nil
}

func (c *rawConsumer) next(ctx context.Context) error {
	select {
	case resp, ok := <-c.watch:
		if !ok || resp.Err() != nil {
			return errEnded
		}
		for _, ev := range resp.Events {
			if ev.Type == clientv3.EventTypeDelete {
				delete(c.list, string(ev.Kv.Key))
			} else {
				c.list[string(ev.Kv.Key)] = string(ev.Kv.Value)
			}
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *rawConsumer) addrs() []string { return values(c.list, func(v string) string { return v }) }

func (c *rawConsumer) close() error { return c.cli.Close() }

// values are a map's, each made an address.
func values[V any](m map[string]V, addr func(V) string) []string {
	list := make([]string, 0, len(m))
	for _, v := range m {
		list = append(list, addr(v))
	}
	return list
}

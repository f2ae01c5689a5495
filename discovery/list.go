package discovery

import (
	"context"
	"iter"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/ask"
	"github.com/etcdkit/etcdkit/internal/errtext"
	"github.com/etcdkit/etcdkit/mirror"
)

// listTimeout bounds List where ctx does not.
const listTimeout = 15 * time.Second

// List asks etcd once for the service's instances, linearizably, in the order of their ids, and
// waits for the answer until ctx is done, or for 15 s. Values that are not instances are left
// out and logged. Of opts, Prefix, Decode and Logger count; a Policy that is not valid is ErrInvalid.
func List(ctx context.Context, cli *clientv3.Client, service string, opts *Options) ([]*Instance, error) {
	v, err := newView(service, opts)
	if err != nil {
		return nil, errtext.Errorf("discovery: list %q: %w", service, err)
	}
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	ctx, done := ask.Of(cli).WhileOpen(ctx) // a closed client ends it
	defer done()
	resp, err := cli.Get(ctx, v.keys, clientv3.WithPrefix())
	if err != nil {
		return nil, errtext.Errorf("discovery: list %q: %w", service, ask.Of(cli).Explain(err))
	}
	l := newList(len(resp.Kvs), nil)
	v.decodeAll(l, func(yield func(mirror.KeyValue) bool) {
		for _, kv := range resp.Kvs {
			if !yield(mirror.KeyValue{Key: string(kv.Key), Value: string(kv.Value), CreateRevision: kv.CreateRevision}) {
				return
			}
		}
	})
	v.change(func() { v.logBadValues(nil, l) })
	return l.fresh, nil
}

// Watch yields the service's complete list, and again after each change. A slow reader gets the
// newest list, not each one. It ends by break, or with one final error: ctx's, or that of Open.
//
// The first list comes from etcd, whatever Options.Dir says. Watch does not tell whether etcd still
// confirms the last list: while it yields nothing, either nothing has changed or etcd cannot be
// reached. A caller that needs the difference opens a View.
func Watch(ctx context.Context, cli *clientv3.Client, service string, opts *Options) iter.Seq2[[]*Instance, error] {
	return func(yield func([]*Instance, error) bool) {
		unsaved := Options{}
		if opts != nil {
			unsaved = *opts
		}
		unsaved.Dir = "" // an old list would look like a new one
		v, err := Open(ctx, cli, service, &unsaved)
		if err != nil {
			yield(nil, err)
			return
		}
		defer v.Close()
		for {
			current := v.current.Load()
			if !yield(current.instances, nil) {
				return
			}
			select {
			case <-current.changed:
			case <-v.Done():
				yield(nil, v.Err())
				return
			case <-ctx.Done():
				yield(nil, errtext.Errorf("discovery: watch %q: %w", service, ctx.Err()))
				return
			}
		}
	}
}

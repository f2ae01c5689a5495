package inventory

import (
	"context"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// KeptBytes is how much of the values a reading keeps while it reads.
func KeptBytes(ctx context.Context, cli *clientv3.Client, opts *Options) (n int, err error) {
	r, ctx, end, err := newReader(ctx, cli, opts)
	if err != nil {
		return 0, err
	}
	defer end()
	err = r.readAll(ctx)
	for _, kv := range r.kvs {
		n += cap(kv.Value)
	}
	return n, err
}

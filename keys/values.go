package keys

import (
	"context"
	"iter"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// valuesAtOnce is how many values one request reads: with the largest that etcd takes, 96 MiB.
const valuesAtOnce = 64

// withValues replaces the keys of items, as of the reader's revision, by such with values and leases.
func withValues[T any](ctx context.Context, r *reader, items iter.Seq2[T, error], key func(T) **mvccpb.KeyValue) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var waiting []T
		var missing []**mvccpb.KeyValue
		var none T
		pass := func() bool {
			if err := r.values(ctx, missing); err != nil {
				yield(none, err)
				return false
			}
			for _, item := range waiting {
				if !yield(item, nil) {
					return false
				}
			}
			waiting, missing = waiting[:0], missing[:0]
			return true
		}
		for item, err := range items {
			if err != nil {
				if pass() {
					yield(none, err)
				}
				return
			}
			waiting = append(waiting, item)
			if at := key(item); *at != nil {
				missing = append(missing, at)
			}
			if (len(missing) == valuesAtOnce || len(waiting) == mostHeld) && !pass() {
				return
			}
		}
		pass()
	}
}

// values reads keys in one request.
func (r *reader) values(ctx context.Context, missing []**mvccpb.KeyValue) error {
	if len(missing) == 0 {
		return nil
	}
	var resp *clientv3.TxnResponse
	err := r.do(ctx, func(ctx context.Context, at []clientv3.OpOption) (err error) {
		ops := make([]clientv3.Op, 0, len(missing))
		for _, m := range missing {
			ops = append(ops, clientv3.OpGet(string((*m).Key), at...))
		}
		resp, err = r.cli.Txn(ctx).Then(ops...).Commit()
		return err
	})
	if err != nil {
		return err
	}
	for i, m := range missing {
		if kvs := resp.Responses[i].GetResponseRange().Kvs; len(kvs) == 1 {
			*m = kvs[0]
		}
	}
	return nil
}

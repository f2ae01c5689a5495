package keys

import (
	"context"
	"fmt"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/ask"
	"github.com/etcdkit/etcdkit/internal/errtext"
)

// DeleteOptions of Delete. nil and the zero value are the defaults.
type DeleteOptions struct {
	// AtOnce is how many keys one request deletes. Default 10,000. More of them in one revision make the
	// members stand still for as long, and reach each watch as one message.
	AtOnce int
	// Progress is told how many keys are deleted so far, after each request.
	Progress func(deleted int64)
	// Deleted, if it is not nil, receives the keys as they were.
	Deleted func([]*mvccpb.KeyValue)
}

// Delete deletes the keys of a range and returns how many it has deleted. A range of at most
// DeleteOptions.AtOnce keys is deleted in one revision; a larger one in parts, in the order of its keys: a failure
// in between leaves the rest. The last part may then be deleted, too, and not be counted.
//
// Keys that are created in the range meanwhile may be deleted or not. The zero Range is an ErrInvalid: All deletes all keys.
func Delete(ctx context.Context, cli *clientv3.Client, r Range, opts *DeleteOptions) (deleted int64, err error) {
	var o DeleteOptions
	if opts != nil {
		o = *opts
	}
	if o.AtOnce == 0 {
		o.AtOnce = 10_000
	}
	if r == (Range{}) {
		return 0, fmt.Errorf("%w: delete: the zero Range would be all keys: want a prefix, a first key, or keys.All()", ErrInvalid)
	}
	if err = r.check(); err == nil && o.AtOnce < 0 {
		err = fmt.Errorf("%w: %d keys at once: want 1 or more", ErrInvalid, o.AtOnce)
	}
	if err != nil {
		return 0, err
	}
	ctx, done := ask.Of(cli).WhileOpen(ctx)
	defer done()
	d := &deleter{cli: cli, options: o}
	if err := d.run(ctx, r); err != nil {
		return d.deleted, errtext.Errorf("keys: delete %v, %d deleted so far: %w", r, d.deleted, explain(cli, err))
	}
	return d.deleted, nil
}

type deleter struct {
	cli     *clientv3.Client
	options DeleteOptions
	deleted int64
}

func (d *deleter) run(ctx context.Context, r Range) error {
	reader, err := open(ctx, d.cli, r.From, 0)
	if err != nil {
		return err
	}
	from, n := r.From, 0
	for page, err := range reader.pages(ctx, r) {
		if err != nil {
			return err
		}
		for _, kv := range page {
			if n == d.options.AtOnce {
				if err := d.part(ctx, Range{from, string(kv.Key)}); err != nil {
					return err
				}
				from, n = string(kv.Key), 0
			}
			n++
		}
	}
	return d.part(ctx, Range{from, r.End})
}

func (d *deleter) part(ctx context.Context, r Range) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	key, end := r.Bounds()
	opts := []clientv3.OpOption{clientv3.WithRange(end)}
	if d.options.Deleted != nil {
		opts = append(opts, clientv3.WithPrevKV())
	}
	resp, err := d.cli.Delete(ctx, key, opts...)
	if err != nil {
		return err
	}
	d.deleted += resp.Deleted
	if d.options.Deleted != nil {
		d.options.Deleted(resp.PrevKvs)
	}
	if d.options.Progress != nil {
		d.options.Progress(d.deleted)
	}
	return nil
}

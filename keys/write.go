package keys

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/ask"
	"github.com/etcdkit/etcdkit/internal/errtext"
	"github.com/etcdkit/etcdkit/internal/quote"
)

const (
	batchMost  = 128       // operations that etcd takes in a transaction
	batchBytes = 1_000_000 // of keys and values; etcd takes requests of 1.5 MiB
	perKey     = 64        // what a key costs in a request besides, about: its operation and its comparison
)

// wanted is what a key should be.
type wanted struct {
	key    string
	value  string
	lease  clientv3.LeaseID // at the source; 0: none
	ttl    int64            // the lease's, in seconds; 0: it has ended
	absent bool             // there should be no such key
	skip   bool
}

func (x *wanted) size() int { return len(x.key)*2 + len(x.value) + perKey }

// writer makes keys what they should be, with as few writes as possible: it reads a batch of keys, and writes
// those that differ in one transaction, which compares that they are still what was read. So a try that is
// repeated, or comes late, does no harm.
type writer struct {
	retrier
	cli       *clientv3.Client
	leases    *leases
	overwrite bool
	exact     bool // a key has to be on the lease that was made for it, not on any
	dry       bool // only find out what there is to do

	counts *Counts
	each   func(key string, a Action) // may be nil
	done   func()                     // after each batch; may be nil

	unsure    map[string]bool    // keys with a write that had no answer: it can be carried out late
	regranted []clientv3.LeaseID // leases of the source that were granted again: keys written before are gone

	batch []wanted
	size  int
	in    map[string]bool // the keys of batch
}

// add adds a key, and writes the batch when it is full. A key that comes again is for the next batch.
func (w *writer) add(ctx context.Context, x wanted) error {
	if len(w.batch) > 0 && (len(w.batch) == batchMost || w.size+x.size() > batchBytes || w.in[x.key]) {
		if err := w.flush(ctx); err != nil {
			return err
		}
	}
	if w.in == nil {
		w.in = make(map[string]bool, batchMost)
	}
	w.batch, w.in[x.key] = append(w.batch, x), true
	w.size += x.size()
	return nil
}

// flush writes the batch.
func (w *writer) flush(ctx context.Context) error {
	if len(w.batch) == 0 {
		return nil
	}
	tried := make(map[string]Action) // what earlier tries may have done
	var actions []Action
	err := w.do(ctx, writeTimeout, func(ctx context.Context) (err error) {
		actions, err = w.attempt(ctx, tried)
		return err
	})
	if err != nil {
		return w.explain(err)
	}
	for i, a := range actions {
		w.counts.count(a)
		if !w.dry && (a == ActionCreate || a == ActionUpdate) {
			w.leases.wrote(w.batch[i].lease)
		}
		if w.each != nil {
			w.each(w.batch[i].key, a)
		}
	}
	w.counts.Read += int64(len(w.batch))
	w.batch, w.size = w.batch[:0], 0
	clear(w.in)
	if w.done != nil {
		w.done()
	}
	return nil
}

// end writes the last batch, and fails if keys that were written are gone again with their leases. Follow does not need
// it: it writes them again.
func (w *writer) end(ctx context.Context) error {
	if err := w.flush(ctx); err != nil {
		return err
	}
	n, err := w.leases.ended(ctx)
	if err != nil {
		return errtext.Errorf("whether the leases it has made still live: %w", err)
	}
	if n > 0 {
		return fmt.Errorf("%w: %d of them; keys that were written on them are gone: do it again, it writes what is missing", ErrLeaseEnded, n)
	}
	return nil
}

// explain says which keys an error is about, if it is about keys.
func (w *writer) explain(err error) error {
	if !ask.Permanent(err) {
		return err
	}
	first, n := w.batch[0], len(w.batch)
	if n == 1 {
		return errtext.Errorf("write %s (%d bytes): %w", quote.Text(first.key), len(first.key)+len(first.value), ask.Reason(err))
	}
	return errtext.Errorf("write %s to %s: %w", quote.Text(first.key), quote.Text(w.batch[n-1].key), ask.Reason(err))
}

// attempt reads the batch and writes what differs. It adds to tried what may have been done when it fails.
func (w *writer) attempt(ctx context.Context, tried map[string]Action) ([]Action, error) {
	found, err := w.read(ctx)
	if err != nil {
		return nil, err
	}
	actions := make([]Action, len(w.batch))
	done := make(map[string]Action)
	var compares []clientv3.Cmp
	var ops []clientv3.Op
	for i, x := range w.batch {
		actions[i] = w.decide(x, found[i])
		switch actions[i] {
		case ActionCreate, ActionUpdate, ActionDelete:
			op, err := w.op(ctx, x)
			if err != nil {
				return nil, err
			}
			w.leases.use(x.lease)
			compares = append(compares, clientv3.Compare(clientv3.ModRevision(x.key), "=", found[i].GetModRevision()))
			ops = append(ops, op)
			done[x.key] = actions[i]
		case ActionSame:
			if a, ok := tried[x.key]; ok {
				actions[i] = a // an earlier try did it, and its answer was lost
			}
		}
	}
	if len(ops) == 0 || w.dry {
		return actions, nil
	}
	resp, err := w.cli.Txn(ctx).If(compares...).Then(ops...).Commit()
	switch {
	case errors.Is(err, rpctypes.ErrLeaseNotFound):
		if err := w.forgetGone(ctx); err != nil {
			return nil, err
		}
		return nil, errChanged
	case err != nil:
		if !ask.NotApplied(err) {
			maps.Copy(tried, done)
			for key := range done {
				w.unsure[key] = true
			}
		}
		return nil, err
	case !resp.Succeeded:
		return nil, errChanged
	}
	return actions, nil
}

// read reads the keys of the batch; nil is a key that does not exist.
func (w *writer) read(ctx context.Context) ([]*mvccpb.KeyValue, error) {
	ops := make([]clientv3.Op, len(w.batch))
	for i, x := range w.batch {
		ops[i] = clientv3.OpGet(x.key)
	}
	resp, err := w.cli.Txn(ctx).Then(ops...).Commit()
	if err != nil {
		return nil, err
	}
	found := make([]*mvccpb.KeyValue, len(ops))
	for i, r := range resp.Responses {
		if kvs := r.GetResponseRange().Kvs; len(kvs) == 1 {
			found[i] = kvs[0]
		}
	}
	return found, nil
}

func (w *writer) decide(x wanted, found *mvccpb.KeyValue) Action {
	switch {
	case x.absent && found == nil:
		return ActionSame
	case x.absent:
		return ActionDelete
	case x.skip || x.lease != 0 && x.ttl <= 0:
		return ActionSkip
	case found == nil:
		return ActionCreate
	case string(found.Value) == x.value && w.onItsLease(x, clientv3.LeaseID(found.Lease)):
		return ActionSame
	case !w.overwrite:
		return ActionKeep
	}
	return ActionUpdate
}

// onItsLease tells whether a key that exists is on a lease as it should be.
func (w *writer) onItsLease(x wanted, lease clientv3.LeaseID) bool {
	if x.lease == 0 || lease == 0 || !w.exact {
		return (x.lease == 0) == (lease == 0)
	}
	return w.leases.known(x.lease) == lease
}

// op is the write of a key, with its lease, which it grants if need be.
func (w *writer) op(ctx context.Context, x wanted) (clientv3.Op, error) {
	switch {
	case x.absent:
		return clientv3.OpDelete(x.key), nil
	case x.lease == 0:
		return clientv3.OpPut(x.key, x.value), nil
	}
	if w.dry {
		w.leases.pretend(x.lease, w.counts)
		return clientv3.Op{}, nil
	}
	id, err := w.leases.get(ctx, x.lease, x.ttl, w.counts)
	return clientv3.OpPut(x.key, x.value, clientv3.WithLease(id)), err
}

// forgetGone finds the leases of the batch that are gone at the destination: the next try grants them again.
func (w *writer) forgetGone(ctx context.Context) error {
	for _, x := range w.batch {
		id := w.leases.known(x.lease)
		if id == 0 {
			continue
		}
		resp, err := w.cli.TimeToLive(ctx, id)
		switch {
		case errors.Is(err, rpctypes.ErrLeaseNotFound), err == nil && resp.TTL < 0:
			if w.leases.made[x.lease].written {
				w.leases.gone++
			}
			w.leases.forget(x.lease)
			w.regranted = append(w.regranted, x.lease)
		case err != nil:
			return err
		}
	}
	return nil
}

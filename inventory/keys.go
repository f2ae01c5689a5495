package inventory

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/election"
	"github.com/etcdkit/etcdkit/internal/ask"
	"github.com/etcdkit/etcdkit/internal/errtext"
	"github.com/etcdkit/etcdkit/internal/queue"
	"github.com/etcdkit/etcdkit/internal/quote"
	"github.com/etcdkit/etcdkit/keys"
	"github.com/etcdkit/etcdkit/lock"
)

const (
	perRequest  = 64     // keys; etcd takes 128
	fewInQueue  = 64     // keys of one queue that a batch reads
	mostInQueue = 10_000 // keys of one queue that are read beside those on leases
)

// wanted are the keys on the leases that are read.
func (r *reader) wanted() []string {
	var keys []string
	for _, l := range r.leases {
		for _, key := range l.attached {
			if !r.ofInterest(key) {
				continue
			}
			if len(keys) == r.MostKeys {
				r.omittedKeys++
				continue
			}
			keys = append(keys, key)
		}
	}
	return keys
}

// ofInterest tells whether the caller wants to know of a key.
func (r *reader) ofInterest(key string) bool {
	return len(r.Prefixes) == 0 || slices.ContainsFunc(r.Prefixes, func(p string) bool { return strings.HasPrefix(key, p) })
}

// readValues reads keys into r.kvs, all at one revision.
func (r *reader) readValues(ctx context.Context, keys []string) error {
	ops := make([]clientv3.Op, 0, len(keys))
	for _, key := range keys {
		ops = append(ops, clientv3.OpGet(key))
	}
	return r.get(ctx, ops, func(_ int, resp *clientv3.GetResponse) { r.keep(resp.Kvs) })
}

// largestInstance is the largest value that registry.Decode accepts.
const largestInstance = 64 << 10

// keep keeps what was read: of a value what is needed to tell what it is, and its size.
func (r *reader) keep(kvs []*mvccpb.KeyValue) {
	for _, kv := range kvs {
		key, size := string(kv.Key), len(kv.Value)
		if size > queue.KeptValue && !isInstance(key, kv.Value) {
			kv.Value = bytes.Clone(kv.Value[:queue.KeptValue+1]) // one more, so that the queue knows that it is a part
			r.sizes[key] = size
		}
		r.kvs[key] = kv
	}
}

func isInstance(key string, value []byte) bool {
	if len(value) > largestInstance {
		return false
	}
	_, _, ok := instance(key, string(value))
	return ok
}

// size is how long a value is.
func (r *reader) size(kv *mvccpb.KeyValue) int {
	return cmp.Or(r.sizes[string(kv.Key)], len(kv.Value))
}

// get reads, many keys or ranges a request, and calls got for each of ops that the user may read, one call at a time.
func (r *reader) get(ctx context.Context, ops []clientv3.Op, got func(i int, resp *clientv3.GetResponse)) error {
	var mu sync.Mutex
	batch := func(ctx context.Context, from int) error {
		return r.getBatch(ctx, ops[from:min(from+perRequest, len(ops))], func(i int, resp *clientv3.GetResponse) {
			mu.Lock()
			defer mu.Unlock()
			got(from+i, resp)
		})
	}
	if len(ops) == 0 {
		return nil
	}
	batches := (len(ops) + perRequest - 1) / perRequest
	first := 0
	for ; r.revision == 0 && first < batches; first++ { // the first answer decides which revision the others read
		if err := batch(ctx, first*perRequest); err != nil {
			return err
		}
	}
	return r.each(ctx, batches-first, func(ctx context.Context, i int) error { return batch(ctx, (first+i)*perRequest) })
}

// getBatch makes one request; or one for each of ops, if the user may not read all of them.
func (r *reader) getBatch(ctx context.Context, ops []clientv3.Op, got func(i int, resp *clientv3.GetResponse)) error {
	resp, err := r.txn(ctx, ops)
	if ask.Unauthorised(err) && len(ops) > 1 {
		for i, op := range ops {
			if err := r.getBatch(ctx, []clientv3.Op{op}, func(_ int, resp *clientv3.GetResponse) { got(i, resp) }); err != nil {
				return err
			}
		}
		return nil
	}
	if ask.Unauthorised(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if r.revision == 0 { // then no other request is under way: see get
		r.revision = resp.Header.Revision
	}
	for i, answer := range resp.Responses {
		got(i, (*clientv3.GetResponse)(answer.GetResponseRange()))
	}
	return nil
}

// txn reads at the revision of the reading. Once etcd has forgotten that, the error is ErrCompacted.
func (r *reader) txn(ctx context.Context, ops []clientv3.Op) (*clientv3.TxnResponse, error) {
	pinned := slices.Clone(ops)
	for i := range pinned {
		clientv3.WithRev(r.revision)(&pinned[i])
	}
	return ask.Read(ctx, r.cli, func(ctx context.Context) (*clientv3.TxnResponse, error) {
		return r.cli.Txn(ctx).Then(pinned...).Commit()
	})
}

// completeQueues reads the keys of locks and elections that are on no lease: they are in the queue, too. A count
// tells where there are any.
func (r *reader) completeQueues(ctx context.Context) error {
	prefixes := r.queuePrefixes()
	known := make([]int64, len(prefixes))
	for key := range r.kvs {
		for at := range key {
			if key[at] != '/' {
				continue
			}
			if i, ok := slices.BinarySearch(prefixes, key[:at+1]); ok {
				known[i]++
			}
		}
	}
	var counts, reads []clientv3.Op
	var long []string
	lengths := make(map[string]int64)
	for _, prefix := range prefixes {
		counts = append(counts, clientv3.OpGet(prefix, clientv3.WithPrefix(), clientv3.WithCountOnly()))
	}
	err := r.get(ctx, counts, func(i int, resp *clientv3.GetResponse) {
		switch prefix := prefixes[i]; {
		case resp.Count == known[i]:
		case resp.Count <= fewInQueue:
			reads = append(reads, clientv3.OpGet(prefix, clientv3.WithPrefix(), clientv3.WithLimit(fewInQueue)))
		default:
			long, lengths[prefix] = append(long, prefix), resp.Count
		}
	})
	if err != nil {
		return err
	}
	if err := r.get(ctx, reads, func(_ int, resp *clientv3.GetResponse) { r.keep(resp.Kvs) }); err != nil {
		return err
	}
	for _, prefix := range long {
		if err := r.readLong(ctx, prefix, int(lengths[prefix])); err != nil {
			return errtext.Errorf("read the keys below %s: %w", quote.Text(prefix), err)
		}
	}
	return nil
}

// readLong reads a queue that is too long for a batch, in the order of its keys: etcd would load all of it to sort it by
// age.
func (r *reader) readLong(ctx context.Context, prefix string, count int) error {
	read := 0
	for kvs, err := range r.pages(ctx, keys.Prefix(prefix)) {
		if ask.Unauthorised(err) {
			return nil
		}
		if err != nil {
			return err
		}
		kvs = kvs[:min(len(kvs), mostInQueue-read)]
		read += len(kvs)
		r.keep(kvs)
		if read == mostInQueue || len(r.kvs) >= r.MostKeys {
			break
		}
	}
	if read < count {
		r.incomplete[prefix] = count
	}
	return nil
}

// queuePrefixes are those of the keys of the locks and elections that were found, in their order.
func (r *reader) queuePrefixes() []string {
	var prefixes []string
	kvs := r.all()
	for _, q := range lock.Parse(kvs, nil) {
		prefixes = append(prefixes, q.Name+"/")
	}
	for _, q := range election.Parse(kvs, nil) {
		prefixes = append(prefixes, q.Name+"/")
	}
	slices.Sort(prefixes)
	return slices.Compact(prefixes)
}

func (r *reader) all() []*mvccpb.KeyValue {
	all := make([]*mvccpb.KeyValue, 0, len(r.kvs))
	for _, kv := range r.kvs {
		all = append(all, kv)
	}
	return all
}

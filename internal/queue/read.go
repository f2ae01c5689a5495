package queue

import (
	"cmp"
	"context"
	"math"
	"slices"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// linearizable is a revision that no member has come to: what is read at it is linearizable.
	linearizable = math.MaxInt64
	// serializableTries are made, each of one member, before a quorum is asked.
	serializableTries = 3
)

// readAt makes a read at a revision or later. One member's answer at that revision is as good as a
// quorum's, and costs less even if the first ones that are asked have not come to it yet.
func readAt[T any](ctx context.Context, c *client, least int64, revision func(T) int64, read func(ctx context.Context, serializable []clientv3.OpOption) (T, error)) (resp T, err error) {
	for asked := 0; ; asked++ {
		var serializable []clientv3.OpOption
		if least != linearizable && asked < serializableTries {
			serializable = []clientv3.OpOption{clientv3.WithSerializable()}
		}
		resp, _, err = hedge(ctx, c, func(ctx context.Context, _ int) (T, error) { return read(ctx, serializable) })
		if err != nil || len(serializable) == 0 || revision(resp) >= least { // else a member that lags behind
			return resp, err
		}
	}
}

func txnRevision(resp *clientv3.TxnResponse) int64 { return resp.Header.Revision }
func getRevision(resp *clientv3.GetResponse) int64 { return resp.Header.Revision }

// readAhead reads which entries are ahead, unless it is known that none is, and what the caller wants to
// read, at a revision or later.
func (q *Queue) readAhead(ctx context.Context, e *Entry, least int64) error {
	ops := []clientv3.Op{clientv3.OpGet(e.Key, clientv3.WithKeysOnly())}
	v := q.lockView()
	least = max(least, e.ahead.at)
	if len(e.ahead.entries) > 0 || !e.allowed() || e.ahead.at == 0 {
		ops = append(ops, e.Kind.aheadOps(q.prefix, clientv3.WithMaxCreateRev(e.Revision))...)
	}
	n := len(ops)
	ops = append(ops, e.Wanted...)
	v.mu.Unlock()
	resp, err := readAt(ctx, q.client, least, txnRevision, func(ctx context.Context, serializable []clientv3.OpOption) (*clientv3.TxnResponse, error) {
		ops := slices.Clone(ops)
		for i := range ops {
			for _, opt := range serializable {
				opt(&ops[i])
			}
		}
		return q.cli.Txn(ctx).Then(ops...).Commit()
	})
	if err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	e.deleted = e.deleted || !has(resp.Responses[0], e.Revision)
	kvs, partial := e.Kind.ahead(e, resp.Responses[1:n])
	e.place(v, kvs, partial, resp.Header.Revision)
	e.Reads = rangesOf(resp.Responses[n:])
	return nil
}

// bothExist finds out whether an entry and the one before it are there, at a revision or later. known is
// false when the one before it is not: then the queue has to be read.
func (q *Queue) bothExist(ctx context.Context, e *Entry, last entryID, least int64) (known bool, err error) {
	resp, err := readAt(ctx, q.client, least, txnRevision, func(ctx context.Context, serializable []clientv3.OpOption) (*clientv3.TxnResponse, error) {
		how := append([]clientv3.OpOption{clientv3.WithKeysOnly()}, serializable...)
		return q.cli.Txn(ctx).Then(clientv3.OpGet(e.Key, how...), clientv3.OpGet(last.key, how...)).Commit()
	})
	if err != nil {
		return false, err
	}
	v := q.lockView()
	defer v.mu.Unlock()
	switch {
	case !has(resp.Responses[0], e.Revision):
		e.deleted = true
	case !has(resp.Responses[1], last.revision):
		return false, nil
	case e.ahead.last == last: // and no other one meanwhile
		e.ahead.at = max(e.ahead.at, resp.Header.Revision)
	}
	return true, nil
}

// exists reads whether an entry is there, at a revision or later.
func (q *Queue) exists(ctx context.Context, e *Entry, least int64) (at int64, exists bool, err error) {
	err = q.client.limitReads(ctx, func() error {
		resp, err := readAt(ctx, q.client, least, getRevision, func(ctx context.Context, serializable []clientv3.OpOption) (*clientv3.GetResponse, error) {
			return q.cli.Get(ctx, e.Key, append([]clientv3.OpOption{clientv3.WithKeysOnly()}, serializable...)...)
		})
		if err == nil {
			at, exists = resp.Header.Revision, len(resp.Kvs) > 0 && resp.Kvs[0].CreateRevision == e.Revision
		}
		return err
	})
	return at, exists, err
}

// limitReads calls read when few enough of the client's reads after watches that ended are under way.
func (c *client) limitReads(ctx context.Context, read func() error) error {
	select {
	case c.reads <- struct{}{}:
		defer func() { <-c.reads }()
		return read()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// readKey reads a key with its value. If it is gone, the answer is what was known of it.
func (q *Queue) readKey(ctx context.Context, known *KeyValue) *KeyValue {
	resp, err := q.cli.Get(ctx, string(known.Key))
	if err != nil || len(resp.Kvs) == 0 {
		return known
	}
	return resp.Kvs[0]
}

// has tells whether an answer has a key that was created at a revision.
func has(answer *pb.ResponseOp, revision int64) bool {
	kvs := answer.GetResponseRange().Kvs
	return len(kvs) > 0 && kvs[0].CreateRevision == revision
}

func rangesOf(answers []*pb.ResponseOp) []*clientv3.GetResponse {
	all := make([]*clientv3.GetResponse, len(answers))
	for i, a := range answers {
		all[i] = (*clientv3.GetResponse)(a.GetResponseRange())
	}
	return all
}

// sharedRead is a read of the whole queue for all entries of a client.
type sharedRead struct {
	least int64
	done  chan struct{}
	err   error
}

// readShared reads the whole queue, at a revision or later, once for all that ask at the same time.
func (v *view) readShared(ctx context.Context, least int64) error {
	v.mu.Lock()
	r := v.sharedRead
	if r == nil || r.least < least {
		r = &sharedRead{least: least, done: make(chan struct{})}
		v.sharedRead = r
		v.reading.start(func() { // ends with the view at the latest, which waits for it
			r.err = v.readAll(least)
			v.mu.Lock()
			if v.sharedRead == r {
				v.sharedRead = nil
			}
			v.mu.Unlock()
			close(r.done)
		})
	}
	v.mu.Unlock()
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (v *view) readAll(least int64) error {
	c := v.client
	return c.limitReads(v.life, func() error {
		resp, err := readAt(v.life, c, least, getRevision, func(ctx context.Context, serializable []clientv3.OpOption) (*clientv3.GetResponse, error) {
			return c.cli.Get(ctx, v.prefix, append([]clientv3.OpOption{clientv3.WithPrefix(), clientv3.WithKeysOnly()}, serializable...)...)
		})
		if err == nil {
			v.placeAll(resp.Kvs, resp.Header.Revision)
		}
		return err
	})
}

// placeAll gives all entries that wait their places, of a whole queue as it was at a revision.
func (v *view) placeAll(all []*KeyValue, at int64) {
	slices.SortFunc(all, func(a, b *KeyValue) int { return cmp.Compare(a.CreateRevision, b.CreateRevision) })
	place := make(map[string]int, len(all))
	var excluding []*KeyValue
	among := make([]int, len(all)) // how many of excluding come before
	for i, kv := range all {
		place[string(kv.Key)], among[i] = i, len(excluding)
		if !shared(string(kv.Key)[len(v.prefix):]) {
			excluding = append(excluding, kv)
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for e := range v.subscribed {
		if e.ownWatched || e.ahead.at >= at || e.Revision > at || e.Revision == 0 {
			continue
		}
		i, exists := place[e.Key]
		if e.deleted = e.deleted || !exists || all[i].CreateRevision != e.Revision; e.deleted {
			e.wake()
			continue
		}
		before := all[:i]
		if e.Kind.Shared {
			before = excluding[:among[i]]
		}
		partial := false
		if e.Kind.Size == 0 && len(before) > knownAhead+1 {
			before, partial = before[len(before)-knownAhead-1:], true
		}
		e.place(v, before, partial, at)
		e.readsCurrent = false // nothing was read for it
		v.subscribe(e)
		v.replayDeletions(e)
		e.wake()
	}
}

package queue

import (
	"context"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// valuesMost is how many keys a view sees.
	valuesMost = 8
	// grace is for a message that comes right after another one; a read takes as long.
	grace = 2 * time.Millisecond
)

// value is the last change of a key that a view follows while it hears all deletions, as entries want
// to read it: a Commit changes it in the transaction that ends its turn, and then the next one needs
// no request to know it.
type value struct {
	watch    *watch
	revision int64 // 0: none yet
	read     *clientv3.GetResponse
	changed  chan struct{} // closed and replaced with each change
}

// attend has a view follow what is wanted, where that is a key as it is. hub.mu is held.
func (v *view) attend(wanted []clientv3.Op) {
	if v.wide == nil {
		return
	}
	for _, op := range wanted {
		key := string(op.KeyBytes())
		if !plain(op) || v.values[key] != nil || len(v.values) >= valuesMost {
			continue
		}
		x := &value{changed: make(chan struct{})}
		v.values[key] = x
		x.watch = v.hub.watch(v, key, func(resp clientv3.WatchResponse) { v.see(x, resp) }, func() {
			if v.values[key] == x {
				delete(v.values, key)
			}
		})
	}
}

// plain tells whether op reads one key as it is.
func plain(op clientv3.Op) bool {
	return op.RangeBytes() == nil && op.Rev() == 0 && !op.IsKeysOnly() && !op.IsCountOnly() &&
		op.MinModRev() == 0 && op.MaxModRev() == 0 && op.MinCreateRev() == 0 && op.MaxCreateRev() == 0
}

// see takes changes of a value in. hub.mu is held.
func (v *view) see(x *value, resp clientv3.WatchResponse) {
	for _, ev := range resp.Events {
		read := &clientv3.GetResponse{Header: &pb.ResponseHeader{
			ClusterId: resp.Header.ClusterId, MemberId: resp.Header.MemberId, RaftTerm: resp.Header.RaftTerm, Revision: ev.Kv.ModRevision,
		}}
		if ev.Type == clientv3.EventTypePut {
			read.Kvs, read.Count = []*mvccpb.KeyValue{ev.Kv}, 1
		}
		x.read, x.revision = read, ev.Kv.ModRevision
		v.together = v.together || x.revision == v.last
		close(x.changed)
		x.changed = make(chan struct{})
	}
}

// saw makes an entry's reads of what its view has seen, if all of it changed when the entry's turn
// came. The messages of one transaction come in any order: if they came together before, it waits
// a little for those that are missing.
func (q *Queue) saw(ctx context.Context, e *Entry) bool {
	late := time.NewTimer(grace)
	defer late.Stop()
	for {
		q.mu.Lock()
		v := q.viewed()
		missing, possible := v.reads(e)
		q.mu.Unlock()
		if !possible || missing == nil {
			return possible
		}
		select {
		case <-missing:
		case <-late.C:
			q.mu.Lock()
			v.together = false
			q.mu.Unlock()
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// reads makes an entry's reads, if that is possible already; else it returns what closes when it
// may be. hub.mu is held.
func (v *view) reads(e *Entry) (missing <-chan struct{}, possible bool) {
	if v.wide == nil {
		return nil, false
	}
	var all []*clientv3.GetResponse
	for _, op := range e.Wanted {
		x := v.values[string(op.KeyBytes())]
		switch {
		case x == nil || !plain(op) || x.revision > e.at || x.revision < e.at && !v.together:
			return nil, false
		case x.revision < e.at:
			return x.changed, true
		}
		all = append(all, x.read)
	}
	e.Reads, e.fresh = all, true
	return nil, true
}

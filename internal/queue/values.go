package queue

import (
	"context"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// mostValues is how many keys a view follows.
	mostValues = 8
	// valueWait is for a message that comes right after another one; a read takes as long.
	valueWait = 2 * time.Millisecond
)

// values are those that entries want to read, as far as a view follows them while it hears all
// deletions: a Commit changes one in the transaction that ends its turn, and then the next one needs
// no request to know it.
type values struct {
	of       map[string]*value
	together bool // one changed with a deletion, the last time that it mattered
}

// value is the last change of a key.
type value struct {
	watch    *watch
	revision int64 // 0: none yet
	read     *clientv3.GetResponse
	changed  chan struct{} // closed and replaced with each change
}

// watchValues has a view follow what is wanted, where that is a key as it is. mu is held.
func (v *view) watchValues(wanted []clientv3.Op) {
	if v.queueWatch == nil {
		return
	}
	for _, op := range wanted {
		key := string(op.KeyBytes())
		if !plain(op) || v.values.of[key] != nil || len(v.values.of) >= mostValues {
			continue
		}
		x := &value{changed: make(chan struct{})}
		v.values.of[key] = x
		x.watch = v.watch(key, func(_ *watch, resp clientv3.WatchResponse) { v.recordValue(x, resp) }, func(*watch) {
			if v.values.of[key] == x {
				delete(v.values.of, key)
			}
		})
	}
}

// plain tells whether op reads one key as it is.
func plain(op clientv3.Op) bool {
	return op.RangeBytes() == nil && op.Rev() == 0 && !op.IsKeysOnly() && !op.IsCountOnly() &&
		op.MinModRev() == 0 && op.MaxModRev() == 0 && op.MinCreateRev() == 0 && op.MaxCreateRev() == 0
}

// recordValue records the changes of a value. mu is held.
func (v *view) recordValue(x *value, resp clientv3.WatchResponse) {
	for _, ev := range resp.Events {
		read := &clientv3.GetResponse{Header: &pb.ResponseHeader{
			ClusterId: resp.Header.ClusterId, MemberId: resp.Header.MemberId, RaftTerm: resp.Header.RaftTerm, Revision: ev.Kv.ModRevision,
		}}
		if ev.Type == clientv3.EventTypePut {
			read.Kvs, read.Count = []*mvccpb.KeyValue{ev.Kv}, 1
		}
		x.read, x.revision = read, ev.Kv.ModRevision
		v.values.together = v.values.together || x.revision == v.deletions.last
		close(x.changed)
		x.changed = make(chan struct{})
	}
}

// close ends all watches of values.
func (vs *values) close() {
	for _, x := range vs.of {
		x.watch.stop()
	}
	clear(vs.of)
}

// readFromWatch makes an entry's reads of what its view has seen, if all of it changed when the entry's
// turn came. The messages of one transaction come in any order: if they came together before, it waits
// a little for those that are missing.
func (q *Queue) readFromWatch(ctx context.Context, e *Entry) bool {
	late := time.After(valueWait)
	for {
		v := q.lockView()
		missing, possible := v.takeReads(e)
		v.mu.Unlock()
		if !possible || missing == nil {
			return possible
		}
		select {
		case <-missing:
		case <-late:
			v.mu.Lock()
			v.values.together = false
			v.mu.Unlock()
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// takeReads makes an entry's reads, if that is possible already; else it returns what closes when it
// may be. mu is held.
func (v *view) takeReads(e *Entry) (missing <-chan struct{}, possible bool) {
	if v.queueWatch == nil {
		return nil, false
	}
	at := e.ahead.at
	var all []*clientv3.GetResponse
	for _, op := range e.Wanted {
		x := v.values.of[string(op.KeyBytes())]
		switch {
		case x == nil || !plain(op) || x.revision > at || x.revision < at && !v.values.together:
			return nil, false
		case x.revision < at:
			return x.changed, true
		}
		all = append(all, x.read)
	}
	e.Reads, e.readsCurrent = all, true
	return nil, true
}

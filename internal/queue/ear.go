package queue

import (
	"context"
	"strconv"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/metadata"
)

const (
	// earIdle is how long the ear stays open after the last entry that listened.
	earIdle = 5 * time.Second
	// earMost is how many keys it remembers; whoever came before that has to look.
	earMost = 4096
	// valuesMost is how many keys it sees.
	valuesMost = 8
	// grace is for a message that comes right after another one; a read takes as long.
	grace = 2 * time.Millisecond
)

// ear hears of all deletions of the queue, from a revision on. It also sees the keys that those who
// listen want to read: a Commit changes them in the transaction that ends its turn, and then the
// next one needs no request to know them.
type ear struct {
	ctx  context.Context
	stop context.CancelFunc
	idle *time.Timer
	open chan struct{} // closed when it hears
	done chan struct{} // closed when it hears no more

	// Guarded by Queue.mu.
	from     int64
	deleted  map[string]int64 // the last deletion of each key
	last     int64            // the last deletion
	values   map[string]*value
	together bool // a value changed with a deletion, the last time that it mattered
}

// value is the last change of a key that the ear sees.
type value struct {
	revision int64 // 0: none yet
	read     *clientv3.GetResponse
	changed  chan struct{} // closed and replaced with each change
}

// hears takes note of a deletion. Queue.mu is held.
func (e *Entry) hears(key string, revision int64) {
	e.gone = e.gone || key == e.Key && revision > e.Revision
	if weight, ok := e.ahead[key]; ok && revision > e.at {
		delete(e.ahead, key)
		e.heard = max(e.heard, revision) // what came before the wait is heard in any order
		was := e.clear()
		if e.taken -= weight; !was && e.clear() {
			e.at, e.fresh = e.heard, false
		}
	}
	if e.gone || e.clear() {
		select {
		case e.moved <- struct{}{}:
		default:
		}
	}
}

// lend has the ear listen for an entry, and opens it if need be.
func (q *Queue) lend(e *Entry) *ear {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting[e] = struct{}{}
	if q.ear == nil {
		ctx, stop := context.WithCancel(q.watching(q.life))
		a := &ear{ctx: ctx, stop: stop, values: make(map[string]*value), open: make(chan struct{}), done: make(chan struct{}), deleted: make(map[string]int64)}
		a.idle = time.AfterFunc(earIdle, func() {
			q.mu.Lock()
			defer q.mu.Unlock()
			q.tire(a)
		})
		q.ear = a
		q.start(func() { q.hear(a) }) // ends with Close, or idle
	}
	q.attend(q.ear, e.Wanted)
	q.ear.idle.Stop()
	return q.ear
}

func (q *Queue) withdraw(e *Entry) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.waiting, e)
	if len(q.waiting) == 0 && q.ear != nil {
		q.ear.idle.Reset(earIdle)
	}
}

// tire closes an ear that nobody listens to. q.mu is held.
func (q *Queue) tire(a *ear) {
	if a != nil && a == q.ear && len(q.waiting) == 0 {
		a.stop()
		q.ear = nil
	}
}

// renew has watches opened on a stream of their own, which leads to another member, as the one that
// there is says nothing. An ear on it is closed.
func (q *Queue) renew(a *ear) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.streams++
	if a != nil {
		a.stop()
	}
	if q.ear == a {
		q.ear = nil
	}
}

// watching is the context of a watch. All of a client's whose metadata is the same share a stream.
// q.mu is held.
func (q *Queue) watching(ctx context.Context) context.Context {
	ctx = clientv3.WithRequireLeader(ctx)
	if q.streams > 0 {
		ctx = metadata.AppendToOutgoingContext(ctx, "etcdkit-stream", strconv.Itoa(q.streams))
	}
	return ctx
}

func (q *Queue) hear(a *ear) {
	defer a.stop()
	for resp := range q.cli.Watch(a.ctx, q.prefix, clientv3.WithPrefix(), clientv3.WithFilterPut(), clientv3.WithCreatedNotify()) {
		q.mu.Lock()
		if resp.Created && !resp.Canceled {
			a.from = resp.Header.Revision
			close(a.open)
		}
		for _, ev := range resp.Events {
			key := string(ev.Kv.Key)
			if len(a.deleted) >= earMost { // of many that came once
				a.deleted, a.from = make(map[string]int64), ev.Kv.ModRevision
			}
			a.deleted[key], a.last = ev.Kv.ModRevision, ev.Kv.ModRevision
			for e := range q.waiting {
				e.hears(key, ev.Kv.ModRevision)
			}
		}
		q.mu.Unlock()
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	a.idle.Stop()
	if q.ear == a {
		q.ear = nil
	}
	close(a.done)
}

// attend has the ear hear of what is wanted, where that is a key as it is. q.mu is held.
func (q *Queue) attend(a *ear, wanted []clientv3.Op) {
	for _, op := range wanted {
		key := string(op.KeyBytes())
		if !plain(op) || a.values[key] != nil || len(a.values) >= valuesMost {
			continue
		}
		v := &value{changed: make(chan struct{})}
		a.values[key] = v
		q.start(func() { q.see(a, key, v) }) // ends with the ear
	}
}

// plain tells whether op reads one key as it is.
func plain(op clientv3.Op) bool {
	return op.RangeBytes() == nil && op.Rev() == 0 && !op.IsKeysOnly() && !op.IsCountOnly() &&
		op.MinModRev() == 0 && op.MaxModRev() == 0 && op.MinCreateRev() == 0 && op.MaxCreateRev() == 0
}

// see follows a key. When the watch ends before the ear does, what was seen last is of no harm: it
// is only ever compared with a later revision.
func (q *Queue) see(a *ear, key string, v *value) {
	for resp := range q.cli.Watch(a.ctx, key) {
		for _, ev := range resp.Events {
			read := &clientv3.GetResponse{Header: &pb.ResponseHeader{
				ClusterId: resp.Header.ClusterId, MemberId: resp.Header.MemberId, RaftTerm: resp.Header.RaftTerm, Revision: ev.Kv.ModRevision,
			}}
			if ev.Type == clientv3.EventTypePut {
				read.Kvs, read.Count = []*mvccpb.KeyValue{ev.Kv}, 1
			}
			q.mu.Lock()
			v.read, v.revision = read, ev.Kv.ModRevision
			a.together = a.together || v.revision == a.last
			close(v.changed)
			v.changed = make(chan struct{})
			q.mu.Unlock()
		}
	}
}

// saw makes an entry's reads of what the ear has seen, if all of it changed when the entry's turn
// came. The messages of one transaction come in any order: if they came together before, it waits
// a little for those that are missing.
func (q *Queue) saw(ctx context.Context, e *Entry) bool {
	late := time.NewTimer(grace)
	defer late.Stop()
	for {
		q.mu.Lock()
		a := q.ear
		missing, possible := a.reads(e)
		q.mu.Unlock()
		if !possible || missing == nil {
			return possible
		}
		select {
		case <-missing:
		case <-late.C:
			q.mu.Lock()
			a.together = false
			q.mu.Unlock()
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// reads makes an entry's reads, if that is possible already; else it returns what closes when it
// may be. Queue.mu is held.
func (a *ear) reads(e *Entry) (missing <-chan struct{}, possible bool) {
	if a == nil {
		return nil, false
	}
	var all []*clientv3.GetResponse
	for _, op := range e.Wanted {
		v := a.values[string(op.KeyBytes())]
		switch {
		case v == nil || !plain(op) || v.revision > e.at || v.revision < e.at && !a.together:
			return nil, false
		case v.revision < e.at:
			return v.changed, true
		}
		all = append(all, v.read)
	}
	e.Reads, e.fresh = all, true
	return nil, true
}

package registry

import (
	"context"
	"strings"
	"sync"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/lease"
)

// Up to fewKeys keys of a service have a watch each. For more keys there is one watch of the service's prefix.
const fewKeys = 8

// watcher reports to the table what other clients do to its keys, and which leases end. It calls the table
// without holding its own lock.
type watcher struct {
	table  *table
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu      sync.Mutex
	targets map[string]*target // by key, or by a service's prefix
	leases  map[*lease.Lease]bool
}

// target is a key, or all keys of a service, with one watch. watcher.mu guards it.
type target struct {
	name string // a key, or a service's prefix
	keys int    // that rely on it
	from int64  // the revision from which on it misses nothing
	stop context.CancelFunc
}

func newWatcher(t *table) *watcher {
	ctx, cancel := t.etcd.WhileOpen(context.Background())
	return &watcher{
		table: t, ctx: ctx, cancel: cancel,
		targets: make(map[string]*target), leases: make(map[*lease.Lease]bool),
	}
}

func (w *watcher) close() {
	w.cancel()
	w.wg.Wait()
}

// watchLease reports to the table when a lease ends.
func (w *watcher) watchLease(l *lease.Lease) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.leases[l] {
		return
	}
	w.leases[l] = true
	w.wg.Go(func() { // ends with the lease or the watcher
		select {
		case <-l.Done():
		case <-w.ctx.Done():
			return
		}
		w.mu.Lock()
		delete(w.leases, l)
		w.mu.Unlock()
		w.table.onLeaseEnd(l)
	})
}

// watchKey watches an entry's key that was just written, from the revision after that: so nothing is
// missed, and the write need not wait for a watch. keys is how many the service has. missed: the key has a
// watch already, of its service, which began after the write, so events may be missing. table.mu is held.
func (w *watcher) watchKey(e *entry, keys int) (missed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	from := e.revision + 1
	if e.target == nil {
		name := e.key
		if service := e.service; w.targets[service] != nil || keys > fewKeys {
			name = service
		}
		if e.target = w.targets[name]; e.target == nil {
			e.target = w.open(name, from)
		}
		e.target.keys++
	}
	return from < e.target.from
}

// open starts a watch. w.mu is held.
func (w *watcher) open(name string, from int64) *target {
	ctx, stop := context.WithCancel(w.ctx)
	t := &target{name: name, from: from, stop: stop}
	w.targets[name] = t
	w.wg.Go(func() { w.run(ctx, t, from) }) // ends with unwatch or the watcher
	return t
}

// unwatch ends the watch of a key, if no other key relies on it.
func (w *watcher) unwatch(e *entry) {
	w.mu.Lock()
	defer w.mu.Unlock()
	t := e.target
	if t == nil {
		return
	}
	e.target = nil
	if t.keys--; t.keys == 0 {
		t.stop()
		delete(w.targets, t.name)
	}
}

// run watches a target from a revision on; whenever the watch ends, from now on again.
func (w *watcher) run(ctx context.Context, t *target, from int64) {
	opts := []clientv3.OpOption{clientv3.WithCreatedNotify()}
	if strings.HasSuffix(t.name, "/") {
		opts = append(opts, clientv3.WithPrefix())
	}
	again := w.table.etcd.Backoff(firstPause, maxPause)
	for first := true; ctx.Err() == nil; first = false {
		watchCtx, end := context.WithCancel(clientv3.WithRequireLeader(ctx))
		start := opts
		if first {
			start = append(opts[:len(opts):len(opts)], clientv3.WithRev(from))
		}
		for resp := range w.table.cli.Watch(watchCtx, t.name, start...) {
			if resp.Created && !resp.Canceled {
				again.Reset()
				if !first { // what happened in between is not known
					w.reopened(t, resp.Header.Revision+1)
				}
			}
			w.table.applyEvents(resp.Events)
		}
		end()
		_ = again.Wait(ctx) // it ends early with the client, and then ctx ends
	}
}

// reopened records that a watch may have missed what happened before a revision.
func (w *watcher) reopened(t *target, from int64) {
	w.mu.Lock()
	t.from = from
	w.mu.Unlock()
	w.table.mu.Lock()
	defer w.table.mu.Unlock()
	w.table.markUnverified(t.name)
}

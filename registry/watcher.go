package registry

import (
	"context"
	"strings"
	"sync"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/lease"
)

// fewKeys is how many keys of a service are watched one by one; of more, the service is.
const fewKeys = 8

// watcher tells the registrar of what others do to its keys, and of leases that end.
// Registrar.mu guards its fields.
type watcher struct {
	r       *Registrar
	targets map[string]*target // by key, or by a service's prefix
	leases  map[*lease.Lease]bool
	ctx     context.Context
	cancel  context.CancelFunc
	wg      sync.WaitGroup
}

// target is what one watch is about.
type target struct {
	entries int   // that rely on it
	from    int64 // the revision from which on it misses nothing
	stop    context.CancelFunc
}

func newWatcher(r *Registrar) *watcher {
	ctx, cancel := r.etcd.While(context.Background())
	return &watcher{r: r, targets: make(map[string]*target), leases: make(map[*lease.Lease]bool), ctx: ctx, cancel: cancel}
}

func (w *watcher) close() {
	w.cancel()
	w.wg.Wait()
}

// mourn has the entries of a lease looked at when it ends. r.mu is held.
func (w *watcher) mourn(l *lease.Lease) {
	if w.leases[l] {
		return
	}
	w.leases[l] = true
	w.wg.Go(func() { // ends with the lease or the watcher
		select {
		case <-l.Done():
			w.r.bereave(l)
		case <-w.ctx.Done():
		}
	})
}

// bereave has the entries of a lease that ended written anew.
func (r *Registrar) bereave(l *lease.Lease) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.watcher.leases, l)
	for _, e := range r.entries {
		if e.lease == l {
			r.touch(e)
		}
	}
}

// cover sees to it that an entry which was just written is watched, from that revision on:
// nothing can happen in between, and the write need not wait for a watch. r.mu is held.
func (w *watcher) cover(e *entry) {
	from := e.revision + 1
	if e.watch == "" {
		e.watch = e.key
		if service := e.service(); w.targets[service] != nil || w.r.services[service] > fewKeys {
			e.watch = service
		}
		if w.targets[e.watch] == nil {
			w.open(e.watch, from)
		}
		w.targets[e.watch].entries++
	}
	if from < w.targets[e.watch].from { // the watch was opened, or broke, meanwhile
		e.doubted = true
		w.r.touch(e)
	}
}

func (w *watcher) open(name string, from int64) {
	ctx, stop := context.WithCancel(w.ctx)
	w.targets[name] = &target{from: from, stop: stop}
	w.wg.Go(func() { w.follow(ctx, name, from) }) // ends with uncover or the watcher
}

// uncover ends the watch that nobody relies on any longer. r.mu is held.
func (w *watcher) uncover(e *entry) {
	t := w.targets[e.watch]
	if t == nil {
		return
	}
	if t.entries--; t.entries == 0 {
		t.stop()
		delete(w.targets, e.watch)
	}
	e.watch = ""
}

// follow watches a target from a revision on; whenever the watch ends, from now on again.
func (w *watcher) follow(ctx context.Context, name string, from int64) {
	opts := []clientv3.OpOption{clientv3.WithCreatedNotify()}
	if strings.HasSuffix(name, "/") {
		opts = append(opts, clientv3.WithPrefix())
	}
	again := w.r.etcd.Backoff(firstPause, maxPause)
	for first := true; ctx.Err() == nil; first = false {
		watchCtx, end := context.WithCancel(clientv3.WithRequireLeader(ctx))
		start := opts
		if first {
			start = append(opts[:len(opts):len(opts)], clientv3.WithRev(from))
		}
		for resp := range w.r.cli.Watch(watchCtx, name, start...) {
			if resp.Created && !resp.Canceled {
				again.Reset()
				if !first { // what happened in between is not known
					w.reopened(name, resp.Header.Revision+1)
				}
			}
			w.r.observe(resp.Events)
		}
		end()
		_ = again.Wait(ctx) // it ends early with the client, and then ctx ends
	}
}

// reopened records that a watch may have missed what happened before a revision.
func (w *watcher) reopened(name string, from int64) {
	w.r.mu.Lock()
	defer w.r.mu.Unlock()
	if t := w.targets[name]; t != nil {
		t.from = from
	}
	w.r.doubt(name)
}

// doubt has the entries below a key or prefix looked at again. r.mu is held.
func (r *Registrar) doubt(below string) {
	for key, e := range r.entries {
		if e.written && !e.leaving && strings.HasPrefix(key, below) {
			e.doubted = true
			r.touch(e)
		}
	}
}

// observe records what happened to keys.
func (r *Registrar) observe(events []*clientv3.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, ev := range events {
		e := r.entries[string(ev.Kv.Key)]
		if e == nil || ev.Kv.ModRevision <= e.revision {
			continue
		}
		put := ev.Type == clientv3.EventTypePut
		if put && e.owned(ev.Kv) {
			// Ours, and its answer is still on its way; or one that was given up for lost.
			e.doubted = e.written
			r.touch(e)
			continue
		}
		e.foreign = max(e.foreign, ev.Kv.ModRevision)
		if e.leaving {
			continue
		}
		switch {
		case !put:
			r.lose(keyDeleted, e)
			r.touch(e)
		case e.written:
			r.lose(keyTaken, e)
			r.touch(e)
		}
	}
}

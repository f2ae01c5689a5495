package registry

import (
	"context"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/lease"
)

// fewKeys is how many keys are watched one by one; of more, their services are.
const fewKeys = 8

// watcher tells the registrar of what others do to its keys, and of leases that end.
type watcher struct {
	r       *Registrar
	targets map[string]context.CancelFunc // by key, or by prefix ending in a slash
	leases  map[*lease.Lease]bool
	ctx     context.Context
	cancel  context.CancelFunc
	wg      sync.WaitGroup
}

func newWatcher(r *Registrar) *watcher {
	ctx, cancel := context.WithCancel(context.Background())
	return &watcher{r: r, targets: make(map[string]context.CancelFunc), leases: make(map[*lease.Lease]bool), ctx: ctx, cancel: cancel}
}

func (w *watcher) close() {
	w.cancel()
	w.wg.Wait()
}

// keys are all keys, and the leases they are on.
func (r *Registrar) keys() (keys []string, leases []*lease.Lease) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for key, e := range r.entries {
		keys = append(keys, key)
		if e.lease != nil {
			leases = append(leases, e.lease)
		}
	}
	return keys, leases
}

// cover watches what is not watched yet and waits until etcd has confirmed it, so that nothing
// that happens after a write is missed; at most rpcTimeout, as without etcd there is nothing to
// write either.
func (w *watcher) cover(ctx context.Context, keys []string, leases []*lease.Lease) {
	for _, l := range leases {
		if w.leases[l] {
			continue
		}
		w.leases[l] = true
		w.wg.Go(func() { // ends with the lease or the watcher
			select {
			case <-l.Done():
				w.r.urge()
			case <-w.ctx.Done():
			}
		})
	}
	wanted := make(map[string]bool)
	for _, k := range keys {
		if len(keys) > fewKeys {
			k = k[:strings.LastIndexByte(k, '/')+1]
		}
		wanted[k] = true
	}
	var ready []chan struct{}
	for t := range wanted {
		if w.targets[t] != nil {
			continue
		}
		watchCtx, stop := context.WithCancel(w.ctx)
		created := make(chan struct{})
		w.targets[t] = stop
		ready = append(ready, created)
		w.wg.Go(func() { w.follow(watchCtx, t, created) })
	}
	timeout := time.NewTimer(rpcTimeout)
	defer timeout.Stop()
	for _, created := range ready {
		select {
		case <-created:
		case <-timeout.C:
			return
		case <-ctx.Done():
			return
		}
	}
	for t, stop := range w.targets {
		if !wanted[t] {
			stop()
			delete(w.targets, t)
		}
	}
}

// follow watches one key or prefix from now, again whenever the watch ends.
func (w *watcher) follow(ctx context.Context, target string, created chan struct{}) {
	opts := []clientv3.OpOption{clientv3.WithCreatedNotify()}
	if strings.HasSuffix(target, "/") {
		opts = append(opts, clientv3.WithPrefix())
	}
	first := true
	pause := firstPause
	for ctx.Err() == nil {
		watchCtx, end := context.WithCancel(clientv3.WithRequireLeader(ctx))
		for resp := range w.r.cli.Watch(watchCtx, target, opts...) {
			if resp.Created {
				pause = firstPause
				if !first {
					w.r.doubt(target) // what happened in between is not known
				}
			}
			if first { // or refused: then the write tells why
				close(created)
				first = false
			}
			w.r.observe(resp.Events)
		}
		end()
		select {
		case <-time.After(rand.N(pause)):
		case <-ctx.Done():
		}
		pause = min(2*pause, maxPause)
	}
}

// doubt has the entries below target looked at again.
func (r *Registrar) doubt(target string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for key, e := range r.entries {
		if strings.HasPrefix(key, target) && !e.leaving {
			e.written = false // a transaction that finds our key there makes it true again
		}
	}
	r.urge()
}

// observe takes note of what others did.
func (r *Registrar) observe(events []*clientv3.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, ev := range events {
		e := r.entries[string(ev.Kv.Key)]
		if e == nil || ev.Type == clientv3.EventTypePut && e.owned(ev.Kv) {
			continue
		}
		e.foreign = max(e.foreign, ev.Kv.ModRevision)
		if e.foreign > e.revision && !e.leaving {
			why := "its key was taken by somebody"
			if ev.Type == clientv3.EventTypeDelete {
				why = "its key was deleted"
			}
			e.lost(why)
		}
		r.urge()
	}
}

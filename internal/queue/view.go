package queue

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// queueWatchIdle is how long the watch of a whole queue stays open after the last entry that needs it.
	queueWatchIdle = 5 * time.Second
	// shareWatchFrom is how many entries of one client share the watch of the whole queue, wherever they
	// stand in it. Fewer that are far from their turn watch keys of their own, so that a turn wakes
	// one client and not all.
	shareWatchFrom = 32
)

// view is what one client knows of one queue, for all its entries there.
type view struct {
	client   *client
	prefix   string
	entering chan struct{} // a place is taken by each transaction that enters
	slots    slots
	users    int // open queues; guarded by client.mu

	life    context.Context // ends with the last of them, and with the client
	end     context.CancelFunc
	reading workers // reads for all entries

	mu         sync.Mutex                     // it also guards the fields of entries that say so
	local      map[entryID]*Entry             // entries of this client that are in the queue
	subscribed map[*Entry]struct{}            // entries that deletions are reported to
	index      map[string]map[*Entry]struct{} // the same, by the keys whose deletion matters to them
	sharedRead *sharedRead                    // nil: none is under way

	open        map[*watch]struct{} // all watches that have not ended
	queueWatch  *watch              // of all deletions; nil: none
	subscribers int                 // entries that need it
	idle        *time.Timer         // closes it
	keys        map[string]*watch   // of single keys

	deletions deletions
	values    values
}

func newView(c *client, prefix string) *view {
	life, end := context.WithCancel(c.cli.Ctx())
	return &view{
		life: life, end: end,
		client: c, prefix: prefix, entering: make(chan struct{}, mostEnter), slots: slots{next: make(map[clientv3.LeaseID]int)},
		local: make(map[entryID]*Entry), subscribed: make(map[*Entry]struct{}), index: make(map[string]map[*Entry]struct{}),
		open: make(map[*watch]struct{}), keys: make(map[string]*watch),
		deletions: deletions{of: make(map[string]int64)}, values: values{of: make(map[string]*value)},
	}
}

// leave ends a queue's use of the view. When it was the last one, it closes the watches and waits for
// their end.
func (v *view) leave() {
	v.client.mu.Lock()
	v.users--
	last := v.users == 0
	if last {
		delete(v.client.views, v.prefix)
	}
	v.client.mu.Unlock()
	if !last {
		return
	}
	v.mu.Lock()
	if v.idle != nil {
		v.idle.Stop()
	}
	ending := slices.Collect(maps.Keys(v.open))
	v.mu.Unlock()
	for _, w := range ending {
		w.stop()
	}
	for _, w := range ending {
		<-w.done
	}
	v.end()
	v.reading.wait(context.Background())
}

// watch opens a watch. hear receives each answer, and end is called when no more come, both with mu
// held. mu is held.
func (v *view) watch(key string, hear func(*watch, clientv3.WatchResponse), end func(*watch), opts ...clientv3.OpOption) *watch {
	var w *watch // assigned before mu is free
	w = v.client.watches.start(key, func(resp clientv3.WatchResponse) {
		v.mu.Lock()
		defer v.mu.Unlock()
		hear(w, resp)
	}, func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		delete(v.open, w)
		end(w)
	}, opts...)
	v.open[w] = struct{}{}
	return w
}

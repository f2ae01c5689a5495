package queue

import (
	"context"
	"maps"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// wideIdle is how long the watch of a whole queue stays open after the last entry that needs it.
	wideIdle = 5 * time.Second
	// crowd is how many entries of one client share the watch of the whole queue, wherever they
	// stand in it. Fewer that are far from their turn watch keys of their own, so that a turn wakes
	// one client and not all.
	crowd = 32
	// deletedMost is how many deletions a view remembers; an entry that is older has to look.
	deletedMost = 4096
)

// view is what one client knows of one queue, for all its entries there.
type view struct {
	hub      *hub
	prefix   string
	entering chan struct{} // a place is taken by each transaction that enters

	// Guarded by hub.mu.
	queues   map[*Queue]struct{}            // open ones that use it
	local    map[predecessor]*Entry         // entries of this client that are in the queue
	attached map[*Entry]struct{}            // entries that deletions are reported to
	index    map[string]map[*Entry]struct{} // the same, by the keys whose deletion matters to them
	wide     *watch                         // of all deletions; nil: none
	needed   int                            // attached entries that need it
	idle     *time.Timer                    // of wide
	keys     map[string]*watch              // of single keys
	deleted  map[string]int64               // the last deletion of each key
	last     int64                          // the last deletion that wide heard
	looking  *looking                       // nil: none
	slots    map[clientv3.LeaseID]int       // of each lease, below which none is free

	values   map[string]*value
	together bool // a value changed with a deletion, the last time that it mattered
}

// viewOf returns the view that a queue uses from now on. h.mu is held.
func (h *hub) viewOf(q *Queue) *view {
	v := h.views[q.prefix]
	if v == nil {
		v = &view{
			hub: h, prefix: q.prefix, entering: make(chan struct{}, mostEnter), slots: make(map[clientv3.LeaseID]int), queues: make(map[*Queue]struct{}), local: make(map[predecessor]*Entry),
			attached: make(map[*Entry]struct{}), index: make(map[string]map[*Entry]struct{}),
			keys: make(map[string]*watch), deleted: make(map[string]int64), values: make(map[string]*value),
		}
		h.views[q.prefix] = v
	}
	v.queues[q] = struct{}{}
	return v
}

// leave ends a queue's use of its view, and returns what is closed when no watch of it is open, if
// this was the last one.
func (v *view) leave(q *Queue) (ending []<-chan struct{}) {
	v.hub.mu.Lock()
	defer v.hub.mu.Unlock()
	delete(v.queues, q)
	if len(v.queues) > 0 {
		return nil
	}
	delete(v.hub.views, v.prefix)
	if v.idle != nil {
		v.idle.Stop()
	}
	for w := range v.hub.watches {
		if w.view == v {
			ending = append(ending, w.done)
			w.stop()
		}
	}
	return ending
}

// attach has the deletions that matter to an entry reported to it, and returns the watches that
// tell. hub.mu is held.
func (v *view) attach(e *Entry) []*watch {
	v.attached[e] = struct{}{}
	open, others := v.wide != nil && !v.wide.ended(), v.needed
	if e.wide {
		others--
	}
	wide := len(v.attached) >= crowd || open && others > 0
	switch {
	case e.held:
		wide = wide || open // it is there, and another one would have to be opened
	case !e.partial: // any of those ahead may leave next
		wide = true
	}
	if wide != e.wide {
		if e.wide = wide; wide {
			v.needed++
		} else {
			v.needed--
		}
	}
	mention := []string{e.Key}
	if !e.held {
		for key := range e.ahead {
			mention = append(mention, key)
		}
	}
	v.mention(e, mention)
	if wide {
		if !open {
			v.openWide()
		}
		if v.idle != nil {
			v.idle.Stop()
		}
		v.unwatch(e, nil)
		return e.listens([]*watch{v.wide})
	}
	if open { // so many deletions are not worth hearing
		v.closeWide()
	}
	var keys []string
	if e.held || e.waited {
		keys = append(keys, e.Key)
	}
	if !e.held && e.last.key != "" {
		keys = append(keys, e.last.key)
	}
	v.unwatch(e, keys)
	var watches []*watch
	for _, key := range keys {
		w := v.keys[key]
		if w == nil || w.ended() {
			w = v.watchKey(key)
		}
		watches = append(watches, w)
	}
	return e.listens(watches)
}

// listens is told by which watches deletions are reported. hub.mu is held.
func (e *Entry) listens(watches []*watch) []*watch {
	if !slices.Equal(e.on, watches) {
		e.on, e.settled = watches, false
	}
	return watches
}

// detach ends what attach began. hub.mu is held.
func (v *view) detach(e *Entry) {
	if _, ok := v.attached[e]; !ok {
		return
	}
	delete(v.attached, e)
	v.mention(e, nil)
	if e.wide {
		e.wide = false
		v.needed--
	}
	if e.settled && len(e.on) == 1 && e.on[0] == v.wide { // it knows all that was heard
		e.at = max(e.at, v.last)
	}
	e.on, e.settled = nil, false
	v.unwatch(e, nil)
	v.idleSoon()
}

// mention has an entry be told of the deletion of keys. hub.mu is held.
func (v *view) mention(e *Entry, keys []string) {
	for _, key := range e.mentions {
		if slices.Contains(keys, key) {
			continue
		}
		if delete(v.index[key], e); len(v.index[key]) == 0 {
			delete(v.index, key)
		}
	}
	for _, key := range keys {
		if v.index[key] == nil {
			v.index[key] = make(map[*Entry]struct{})
		}
		v.index[key][e] = struct{}{}
	}
	e.mentions = keys
}

// unwatch closes the watches of keys that an entry used, and that nobody uses then. hub.mu is held.
func (v *view) unwatch(e *Entry, keep []string) {
	was := e.watched
	e.watched = keep
	for _, key := range was {
		if slices.Contains(keep, key) {
			continue
		}
		used := false
		for other := range v.index[key] {
			used = used || slices.Contains(other.watched, key)
		}
		if w := v.keys[key]; w != nil && !used {
			w.stop()
			delete(v.keys, key)
		}
	}
}

func (v *view) openWide() {
	var w *watch
	w = v.hub.watch(v, v.prefix, func(resp clientv3.WatchResponse) { v.hear(w, resp) }, func() {
		if v.wide == w {
			v.closeWide()
		}
		v.ended(w, v.attached)
	}, clientv3.WithPrefix(), clientv3.WithFilterPut())
	v.wide = w
}

// ended has entries look after themselves whose watch has ended. hub.mu is held.
func (v *view) ended(w *watch, entries map[*Entry]struct{}) {
	for e := range entries {
		if slices.Contains(e.on, w) {
			e.on, e.settled = nil, false
			e.wake()
		}
	}
}

// closeWide closes the watch of all deletions, and those of values. hub.mu is held.
func (v *view) closeWide() {
	v.wide.stop()
	v.wide = nil
	for key, value := range v.values {
		value.watch.stop()
		delete(v.values, key)
	}
}

// idleSoon closes the watch of all deletions in a while, if nobody needs it then. hub.mu is held.
func (v *view) idleSoon() {
	if v.wide == nil || v.needed > 0 {
		return
	}
	if v.idle != nil {
		v.idle.Reset(wideIdle)
		return
	}
	v.idle = time.AfterFunc(wideIdle, func() {
		v.hub.mu.Lock()
		defer v.hub.mu.Unlock()
		if v.wide != nil && v.needed == 0 {
			v.closeWide()
		}
	})
}

func (v *view) watchKey(key string) *watch {
	var w *watch
	w = v.hub.watch(v, key, func(resp clientv3.WatchResponse) { v.hear(w, resp) }, func() {
		if v.keys[key] == w {
			delete(v.keys, key)
		}
		v.ended(w, v.index[key])
	}, clientv3.WithFilterPut())
	v.keys[key] = w
	return w
}

// hear takes deletions in. hub.mu is held.
func (v *view) hear(w *watch, resp clientv3.WatchResponse) {
	for _, ev := range resp.Events {
		key, revision := string(ev.Kv.Key), ev.Kv.ModRevision
		if len(v.deleted) >= deletedMost { // of many that came once
			forgotten := slices.Max(slices.Collect(maps.Values(v.deleted))) // each watch may have heard of another one last
			clear(v.deleted)
			for other := range v.hub.watches {
				if other.view == v {
					other.from = max(other.from, forgotten)
				}
			}
		}
		v.deleted[key] = max(v.deleted[key], revision)
		if w == v.wide {
			v.last = max(v.last, revision)
		}
		for e := range v.index[key] {
			v.hears(e, key, revision)
		}
	}
}

// hears tells an entry of a deletion. hub.mu is held.
func (v *view) hears(e *Entry, key string, revision int64) {
	e.gone = e.gone || key == e.Key && revision > e.Revision
	if item, ok := e.ahead[key]; ok && !e.held && revision > e.at {
		last, was := e.last, e.clear()
		e.passed(key, item)
		e.heard = max(e.heard, revision) // what came before the wait is heard in any order
		switch {
		case e.partial && key == last.key:
			v.inherit(e, last)
		case !was && e.clear():
			e.at, e.fresh = e.heard, false
		}
	}
	if e.gone || e.unsure || e.clear() {
		e.wake()
	}
}

// inherit gives an entry that does not know of all who are ahead the place of the one just before
// it, which was deleted. What that knew is as good as a read of the queue. hub.mu is held.
func (v *view) inherit(e *Entry, from predecessor) {
	p := v.local[from]
	if p == nil {
		p = e.before
	}
	e.before = nil
	switch {
	case p == nil || p.Revision != from.revision || p.Kind.Shared || p.Kind.Size > 0:
		e.unsure = true // another client's, or it did not wait for all that are ahead
	case p.turned:
		e.forget()
		e.at, e.fresh = e.heard, false
	case e.Kind.Shared || p.unsure || !p.knows(v):
		e.unsure = true
	default:
		e.forget()
		for key, item := range p.ahead {
			e.follows(key, item)
		}
		e.partial, e.last, e.before = p.partial, p.last, p.before
		e.at, e.fresh = p.at, false // what was deleted since may be heard in any order
		settled := e.settled
		v.attach(e)
		v.remember(e)
		if settled && !e.settled { // by another watch
			e.wake()
		}
		if e.clear() {
			e.at = max(e.at, e.heard)
		}
	}
}

// knows tells whether all that happened ahead of an entry since its at is known. hub.mu is held.
func (e *Entry) knows(v *view) bool {
	return e.settled || v.wide != nil && v.wide.opened() && e.at >= v.wide.from
}

// remember tells an entry of the deletions that were heard already. hub.mu is held.
func (v *view) remember(e *Entry) {
	for _, key := range e.mentions {
		if at, ok := v.deleted[key]; ok {
			v.hears(e, key, at)
		}
	}
}

// looking is a read of the whole queue for all entries of a client.
type looking struct {
	least int64
	done  chan struct{}
	err   error
}

// look reads the whole queue, at a revision or later, once for all who ask at the same time.
func (v *view) look(ctx context.Context, least int64) error {
	v.hub.mu.Lock()
	l := v.looking
	if l == nil || l.least < least {
		l = &looking{least: least, done: make(chan struct{})}
		v.looking = l
		go func() { // ends soon
			l.err = v.readAll(least)
			v.hub.mu.Lock()
			if v.looking == l {
				v.looking = nil
			}
			v.hub.mu.Unlock()
			close(l.done)
		}()
	}
	v.hub.mu.Unlock()
	select {
	case <-l.done:
		return l.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (v *view) readAll(least int64) error {
	h := v.hub
	h.looks <- struct{}{}
	defer func() { <-h.looks }()
	for asked := range members + 1 {
		opts := []clientv3.OpOption{clientv3.WithPrefix(), clientv3.WithKeysOnly()}
		serializable := least != now && asked < members
		if serializable {
			opts = append(opts, clientv3.WithSerializable())
		}
		resp, _, err := hedge(h.cli.Ctx(), h, func(ctx context.Context) (*clientv3.GetResponse, error) {
			return h.cli.Get(ctx, v.prefix, opts...)
		})
		if err != nil {
			return err
		}
		if serializable && resp.Header.Revision < least {
			continue // a member that lags behind
		}
		v.order(resp.Kvs, resp.Header.Revision)
		return nil
	}
	return nil
}

// order gives all entries that wait their places, of a whole queue as it was at a revision.
func (v *view) order(all []*mvccpb.KeyValue, at int64) {
	slices.SortFunc(all, func(a, b *mvccpb.KeyValue) int { return int(a.CreateRevision - b.CreateRevision) })
	place := make(map[string]int, len(all))
	var excluding []*mvccpb.KeyValue
	among := make([]int, len(all)) // how many of excluding come before
	for i, kv := range all {
		place[string(kv.Key)], among[i] = i, len(excluding)
		if !shared(string(kv.Key)[len(v.prefix):]) {
			excluding = append(excluding, kv)
		}
	}
	v.hub.mu.Lock()
	defer v.hub.mu.Unlock()
	for e := range v.attached {
		if e.held || e.at >= at || e.Revision > at || e.Revision == 0 {
			continue
		}
		i, there := place[e.Key]
		if e.gone = e.gone || !there || all[i].CreateRevision != e.Revision; e.gone {
			e.wake()
			continue
		}
		before := all[:i]
		if e.Kind.Shared {
			before = excluding[:among[i]]
		}
		partial := false
		if e.Kind.Size == 0 && len(before) > few+1 {
			before, partial = before[len(before)-few-1:], true
		}
		e.place(v, before, partial, at)
		e.fresh = false // nothing was read for it
		v.attach(e)
		v.remember(e)
		e.wake()
	}
}

package queue

import (
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// subscription is what an entry has reported to it. view.mu guards it.
type subscription struct {
	onQueueWatch bool     // it needs the watch of all deletions
	waitedLong   bool     // and so its own key is watched
	watches      []*watch // which report deletions to it
	caughtUp     bool     // what happened before they were open is known
	indexed      []string // keys whose deletion matters
	watchedKeys  []string // keys that have watches of their own
}

// subscribe has the deletions that matter to an entry reported to it, and returns the watches that
// report them. mu is held.
func (v *view) subscribe(e *Entry) []*watch {
	v.subscribed[e] = struct{}{}
	open, others := v.queueWatch != nil && !v.queueWatch.isEnding(), v.subscribers
	if e.onQueueWatch {
		others--
	}
	onQueueWatch := len(v.subscribed) >= shareWatchFrom || open && others > 0
	switch {
	case e.ownWatched:
		onQueueWatch = onQueueWatch || open // it is there, and another one would have to be opened
	case !e.ahead.partial: // any of those ahead may leave next
		onQueueWatch = true
	}
	if onQueueWatch != e.onQueueWatch {
		if e.onQueueWatch = onQueueWatch; onQueueWatch {
			v.subscribers++
		} else {
			v.subscribers--
		}
	}
	keys := []string{e.Key}
	if !e.ownWatched {
		for key := range e.ahead.entries {
			keys = append(keys, key)
		}
	}
	v.indexKeys(e, keys)
	if onQueueWatch {
		if !open {
			v.openQueueWatch()
		}
		if v.idle != nil {
			v.idle.Stop()
		}
		v.unwatchKeys(e, nil)
		return e.setWatches([]*watch{v.queueWatch})
	}
	if open { // so many deletions are not worth hearing
		v.closeQueueWatch()
	}
	return e.setWatches(v.watchKeys(e))
}

// unsubscribe ends what subscribe began. mu is held.
func (v *view) unsubscribe(e *Entry) {
	if _, ok := v.subscribed[e]; !ok {
		return
	}
	delete(v.subscribed, e)
	v.indexKeys(e, nil)
	if e.onQueueWatch {
		e.onQueueWatch = false
		v.subscribers--
	}
	if e.caughtUp && len(e.watches) == 1 && e.watches[0] == v.queueWatch { // it knows all that was heard
		e.ahead.at = max(e.ahead.at, v.deletions.last)
	}
	e.watches, e.caughtUp = nil, false
	v.unwatchKeys(e, nil)
	v.closeWhenIdle()
}

// setWatches records which watches report deletions to the entry. view.mu is held.
func (e *Entry) setWatches(watches []*watch) []*watch {
	if !slices.Equal(e.watches, watches) {
		e.watches, e.caughtUp = watches, false
	}
	return watches
}

// indexKeys has an entry hear of the deletion of keys, and of no others. mu is held.
func (v *view) indexKeys(e *Entry, keys []string) {
	for _, key := range e.indexed {
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
	e.indexed = keys
}

// watchKeys returns watches of the key of an entry far from its turn, if it has waited for long or is
// held, and of the one just before it. mu is held.
func (v *view) watchKeys(e *Entry) []*watch {
	var keys []string
	if e.ownWatched || e.waitedLong {
		keys = append(keys, e.Key)
	}
	if !e.ownWatched && e.ahead.last.key != "" {
		keys = append(keys, e.ahead.last.key)
	}
	v.unwatchKeys(e, keys)
	var watches []*watch
	for _, key := range keys {
		w := v.keys[key]
		if w == nil || w.isEnding() {
			w = v.watch(key, v.applyDeletions, func(w *watch) {
				if v.keys[key] == w {
					delete(v.keys, key)
				}
				v.watchEnded(w, v.index[key])
			}, clientv3.WithFilterPut())
			v.keys[key] = w
		}
		watches = append(watches, w)
	}
	return watches
}

// unwatchKeys closes the watches of keys that an entry used, and that none uses then. mu is held.
func (v *view) unwatchKeys(e *Entry, keep []string) {
	was := e.watchedKeys
	e.watchedKeys = keep
	for _, key := range was {
		if slices.Contains(keep, key) {
			continue
		}
		used := false
		for other := range v.index[key] {
			used = used || slices.Contains(other.watchedKeys, key)
		}
		if w := v.keys[key]; w != nil && !used {
			w.stop()
			delete(v.keys, key)
		}
	}
}

// openQueueWatch opens the watch of all deletions. mu is held.
func (v *view) openQueueWatch() {
	v.queueWatch = v.watch(v.prefix, v.applyDeletions, func(w *watch) {
		if v.queueWatch == w {
			v.closeQueueWatch()
		}
		v.watchEnded(w, v.subscribed)
	}, clientv3.WithPrefix(), clientv3.WithFilterPut())
}

// closeQueueWatch closes the watch of all deletions, and those of values. mu is held.
func (v *view) closeQueueWatch() {
	v.queueWatch.stop()
	v.queueWatch = nil
	v.values.close()
}

// closeWhenIdle closes the watch of all deletions in a while, if no entry needs it then. mu is held.
func (v *view) closeWhenIdle() {
	if v.queueWatch == nil || v.subscribers > 0 {
		return
	}
	if v.idle != nil {
		v.idle.Reset(queueWatchIdle)
		return
	}
	v.idle = time.AfterFunc(queueWatchIdle, func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		if v.queueWatch != nil && v.subscribers == 0 {
			v.closeQueueWatch()
		}
	})
}

// watchEnded wakes the entries of those that a watch reported to. mu is held.
func (v *view) watchEnded(w *watch, entries map[*Entry]struct{}) {
	for e := range entries {
		if slices.Contains(e.watches, w) {
			e.watches, e.caughtUp = nil, false
			e.wake()
		}
	}
}

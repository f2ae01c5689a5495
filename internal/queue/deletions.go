package queue

import (
	"maps"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// mostDeletions is how many deletions a view remembers. An entry that is older has to read the queue.
const mostDeletions = 4096

// deletions are those that a view has heard of.
type deletions struct {
	of   map[string]int64 // the last one of each key
	last int64            // the last one that the watch of the queue reported
}

// applyDeletions records deletions, and tells the entries that they matter to. mu is held.
func (v *view) applyDeletions(w *watch, resp clientv3.WatchResponse) {
	d := &v.deletions
	for _, ev := range resp.Events {
		key, revision := string(ev.Kv.Key), ev.Kv.ModRevision
		if len(d.of) >= mostDeletions { // most are of entries that left long ago
			forgotten := slices.Max(slices.Collect(maps.Values(d.of))) // each watch has its own order
			clear(d.of)
			for other := range v.open {
				other.from.Store(max(other.from.Load(), forgotten))
			}
		}
		d.of[key] = max(d.of[key], revision)
		if w == v.queueWatch {
			d.last = max(d.last, revision)
		}
		for e := range v.index[key] {
			v.applyDeletion(e, key, revision)
		}
	}
}

// applyDeletion tells an entry of a deletion. mu is held.
func (v *view) applyDeletion(e *Entry, key string, revision int64) {
	a := &e.ahead
	e.deleted = e.deleted || key == e.Key && revision > e.Revision
	if w, ok := a.entries[key]; ok && !e.ownWatched && revision > a.at {
		last, was := a.last, e.allowed()
		a.remove(key, w)
		a.lastDeletion = max(a.lastDeletion, revision) // deletions before the wait are heard in any order
		switch {
		case a.partial && key == last.key:
			v.takeOverPlace(e, last)
		case !was && e.allowed():
			a.at, e.readsCurrent = a.lastDeletion, false
		}
	}
	if e.deleted || a.mustRead || e.allowed() {
		e.wake()
	}
}

// replayDeletions tells an entry of the deletions that were heard already. mu is held.
func (v *view) replayDeletions(e *Entry) {
	for _, key := range e.indexed {
		if at, ok := v.deletions.of[key]; ok {
			v.applyDeletion(e, key, at)
		}
	}
}

// takeOverPlace gives an entry that does not know all that are ahead the place of the one just before
// it, which was deleted. What that knew is as good as a read of the queue. mu is held.
func (v *view) takeOverPlace(e *Entry, from entryID) {
	a := &e.ahead
	p := v.local[from]
	if p == nil {
		p = a.previous
	}
	a.previous = nil
	switch {
	case p == nil || p.Revision != from.revision || p.Kind.Shared || p.Kind.Size > 0:
		a.mustRead = true // another client's, or it did not wait for all that are ahead
	case p.hadTurn:
		a.forget()
		a.at, e.readsCurrent = a.lastDeletion, false
	case e.Kind.Shared || p.ahead.mustRead || !v.upToDate(p):
		a.mustRead = true
	default:
		a.forget()
		for key, w := range p.ahead.entries {
			a.add(key, w)
		}
		a.partial, a.last, a.previous = p.ahead.partial, p.ahead.last, p.ahead.previous
		a.at, e.readsCurrent = p.ahead.at, false // what was deleted since may be heard in any order
		caughtUp := e.caughtUp
		v.subscribe(e)
		v.replayDeletions(e)
		if caughtUp && !e.caughtUp { // by another watch
			e.wake()
		}
		if e.allowed() {
			a.at = max(a.at, a.lastDeletion)
		}
	}
}

// upToDate tells whether all deletions ahead of an entry are known. mu is held.
func (v *view) upToDate(e *Entry) bool {
	return e.caughtUp || v.queueWatch != nil && v.queueWatch.isOpen() && e.ahead.at >= v.queueWatch.from.Load()
}

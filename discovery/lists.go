package discovery

import (
	"iter"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"github.com/etcdkit/etcdkit/internal/quote"
	"github.com/etcdkit/etcdkit/mirror"
	"github.com/etcdkit/etcdkit/registry"
)

// list is immutable; a change replaces it and closes changed.
type list struct {
	fresh     []*Instance      // in etcd as of the snapshot, in the order of their ids
	instances []*Instance      // fresh, and those that are kept
	bad       map[string]error // by key
	snapshot  *mirror.Snapshot // nil: the list was read from a file
	choices   choices
	changed   chan struct{} // closed when the next list differs; several lists can share it
	replaced  chan struct{} // closed when there is a next list
}

// newList returns an empty list of up to n instances.
func newList(n int, s *mirror.Snapshot) *list {
	return &list{fresh: make([]*Instance, 0, n), snapshot: s, changed: make(chan struct{}), replaced: make(chan struct{})}
}

func (l *list) revision() int64 {
	if l.snapshot == nil {
		return 0
	}
	return l.snapshot.Revision()
}

// includes reports whether the list was made of a snapshot or a later one.
func (l *list) includes(s *mirror.Snapshot) bool {
	if l.snapshot == nil {
		return false
	}
	if l.snapshot.Epoch() != s.Epoch() {
		return l.snapshot.Epoch() > s.Epoch()
	}
	return l.snapshot.Revision() >= s.Revision() || l.snapshot.SameEntries(s)
}

// read makes the list as of a snapshot.
func (v *View) read(s *mirror.Snapshot) *list {
	l := newList(s.Len(), s)
	v.decodeAll(l, s.All())
	return l
}

// apply applies a batch of changes to the list. It copies one pointer for each instance, and decodes
// what has changed.
func (v *View) apply(b *mirror.Batch) {
	v.change(func() { v.publish(v.after(v.current.Load(), b)) })
}

// after makes the list that follows a batch of changes. v.mu is held.
func (v *View) after(was *list, b *mirror.Batch) *list {
	next := newList(len(was.fresh)+len(b.Changes), b.Snapshot)
	next.bad = maps.Clone(was.bad)
	rest := was.fresh
	for _, c := range byKey(b.Changes) {
		delete(next.bad, c.Key)
		at, found := slices.BinarySearchFunc(rest, c.Key, v.compare)
		next.fresh = append(next.fresh, rest[:at]...)
		var old, now *Instance
		if rest = rest[at:]; found {
			old, rest = rest[0], rest[1:]
		}
		if c.New != nil {
			now = v.decode(next, c.New)
		}
		if now != nil {
			next.fresh = append(next.fresh, now)
		}
		v.replace(old, now, &c)
	}
	next.fresh = append(next.fresh, rest...)
	if len(b.Changes) == 0 { // together they change nothing
		next.changed = was.changed
	}
	return next
}

// replace records what a change means for an instance. old or now may be nil.
func (v *View) replace(old, now *Instance, c *mirror.Change) {
	switch {
	case now == nil && old == nil:
	case now == nil && c.New != nil: // the new value is not an instance: State names it
	case now == nil:
		v.recordVanished(old, c)
	case old == nil:
		v.recordRegistered(now)
	default:
		v.carryUsage(now, old)
	}
}

// carryUsage gives an instance the usage of the one that it replaces, if its address is the same. The
// failures from before a new registration are forgotten.
func (v *View) carryUsage(i, old *Instance) {
	if i.Addr != old.Addr || i.Raw != old.Raw {
		return
	}
	i.usage = old.usage
	if i.registeredAgain(old) {
		v.endPause(i)
	}
}

// endPause ends the pause of an instance that is registered again. v.mu is held.
func (v *View) endPause(i *Instance) {
	if i.usage.succeeded() {
		v.allAvoided.Store(false)
		v.logs.Add(slog.LevelInfo, "the instance is registered again, and used again", v.about(i)...)
	}
}

// change makes a list under v.mu, and writes the log without it: a handler may ask the view.
func (v *View) change(f func()) {
	defer v.logs.Flush()
	v.mu.Lock()
	defer v.mu.Unlock()
	f()
}

// publish makes a list the view's, and adds what is kept. v.mu is held.
func (v *View) publish(next *list) {
	was := v.current.Load()
	next.instances = v.withKept(next.fresh)
	next.choices = v.opts.choices(next.instances)
	v.current.Store(next)
	v.lists++
	for _, i := range next.choices.all.of { // what PickFor can return
		i.usage.listNumber = v.lists
		if i.usage.current.Load() != i {
			i.usage.current.Store(i)
		}
	}
	if was == nil {
		v.logBadValues(nil, next)
		return
	}
	for _, i := range was.choices.all.of {
		if i.usage.listNumber != v.lists {
			i.usage.current.Store(nil)
		}
	}
	v.logBadValues(was, next)
	if was.changed != next.changed {
		close(was.changed)
	}
	close(was.replaced)
}

// byKey returns the changes in the order of the list. A batch has one for each key.
func byKey(changes []mirror.Change) []mirror.Change {
	compare := func(a, b mirror.Change) int { return strings.Compare(a.Key, b.Key) }
	if !slices.IsSortedFunc(changes, compare) { // they are shared with other readers
		changes = slices.Clone(changes)
		slices.SortFunc(changes, compare)
	}
	return changes
}

// compare compares an instance with a key of this service.
func (v *View) compare(i *Instance, key string) int {
	return strings.Compare(i.ID, key[len(v.keys):])
}

// instance decodes a record.
func (v *View) instance(key, value string) (registry.Instance, error) {
	if v.opts.Decode == nil {
		return registry.Decode(v.opts.Prefix, key, value)
	}
	i, err := v.opts.Decode(v.opts.Prefix, key, value)
	if err != nil {
		return i, err
	}
	i.Service, i.ID = v.service, key[len(v.keys):]
	if i.Status == "" {
		i.Status = registry.Passing
	}
	return i, i.Validate()
}

// decodeAll adds the instances of all keys to a list.
func (v *View) decodeAll(l *list, all iter.Seq[mirror.KeyValue]) {
	for kv := range all {
		if i := v.decode(l, &kv); i != nil {
			l.fresh = append(l.fresh, i)
		}
	}
}

// decode decodes a key of the list. If it is not an instance, it records why in the list.
func (v *View) decode(l *list, kv *mirror.KeyValue) *Instance {
	i, err := v.instance(kv.Key, kv.Value)
	if err == nil {
		return newInstance(i, kv.CreateRevision, new(usage))
	}
	if l.bad == nil {
		l.bad = make(map[string]error)
	}
	l.bad[kv.Key] = err
	return nil
}

// logBadValues logs the values that are not instances, each of them once, but only a few of many that
// come at the same time. v.mu is held.
func (v *View) logBadValues(was, now *list) {
	const few = 10
	bad := 0
	for key, err := range now.bad {
		if was != nil && was.bad[key] == err {
			continue
		}
		if bad++; bad <= few {
			v.logs.Add(slog.LevelWarn, "the value is not an instance", "key", quote.Word(key), "error", err)
		}
	}
	if bad > few {
		v.logs.Add(slog.LevelWarn, "more values are not instances", "service", v.service, "values", bad-few)
	}
}

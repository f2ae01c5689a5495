package mirror

import (
	"cmp"
	"slices"
)

// Change is what happened to a key. Old and New belong to snapshots: don't modify them.
type Change struct {
	Key string
	New *KeyValue // nil: the key was deleted
	Old *KeyValue // nil: there was no such key

	// Previous is what stood there right before: Old, unless this is several changes conflated.
	Previous *KeyValue

	// Revision at which it happened.
	Revision int64

	// Synthesised: found by comparing two copies, not told by an event. There may have been
	// other changes in between, and a deletion's Revision is that of the later copy.
	Synthesised bool
}

// Batch is a step from one snapshot to a later one: a transaction, or several of them
// conflated, in which each key is changed once. It has no changes when these cancel one another
// out, or when the history was replaced by one with the same entries: then the Snapshot's Epoch
// has grown. Readers share it: don't modify it.
type Batch struct {
	Changes  []Change // of one transaction as etcd ordered them, otherwise by Revision
	Snapshot *Snapshot
}

// size is roughly what keeping the changes costs, in bytes.
func (b *Batch) size() int {
	const perChange, perEntry = 80, 96 // a Change and a KeyValue
	size := 0
	for _, c := range b.Changes {
		size += perChange
		for _, kv := range []*KeyValue{c.Old, c.New} {
			if kv != nil {
				size += perEntry + len(kv.Key) + len(kv.Value)
			}
		}
	}
	return size
}

// advances tells whether the batch takes a reader that was at a snapshot any further.
func (b *Batch) advances(from *Snapshot) bool {
	return b.Snapshot.epoch != from.epoch || !b.Snapshot.SameEntries(from)
}

// between finds what leads from one snapshot to another. It reads both once.
func between(from, to *Snapshot) *Batch {
	b := &Batch{Snapshot: to}
	if from.tree == to.tree {
		return b
	}
	olds, news := from.cursor(), to.cursor()
	for olds.ok || news.ok {
		switch {
		case !news.ok || olds.ok && olds.key < news.key:
			b.add(olds.entry(), nil)
			olds.next()
		case !olds.ok || news.key < olds.key:
			b.add(nil, news.entry())
			news.next()
		default:
			if old, entry := olds.entry(), news.entry(); old != entry && *old != *entry {
				b.add(old, entry)
			}
			olds.next()
			news.next()
		}
	}
	b.sort()
	return b
}

func (b *Batch) add(from, to *KeyValue) {
	c := Change{Old: from, New: to, Previous: from, Revision: b.Snapshot.revision, Synthesised: true}
	if to != nil {
		c.Key, c.Revision = to.Key, to.ModRevision
	} else {
		c.Key = from.Key
	}
	b.Changes = append(b.Changes, c)
}

// sort puts changes in etcd's order, as far as it is known.
func (b *Batch) sort() {
	slices.SortStableFunc(b.Changes, func(x, y Change) int { return cmp.Compare(x.Revision, y.Revision) })
}

// conflate makes one batch of several that follow one another.
func conflate(batches []*Batch) *Batch {
	if len(batches) == 1 {
		return batches[0]
	}
	all := &Batch{Snapshot: batches[len(batches)-1].Snapshot}
	at := make(map[string]int) // a key's place in all
	for _, b := range batches {
		for _, c := range b.Changes {
			i, seen := at[c.Key]
			if !seen {
				at[c.Key] = len(all.Changes)
				all.Changes = append(all.Changes, c)
				continue
			}
			c.Old = all.Changes[i].Old
			c.Synthesised = c.Synthesised || all.Changes[i].Synthesised
			all.Changes[i] = c
		}
	}
	all.Changes = slices.DeleteFunc(all.Changes, func(c Change) bool { return c.Old == nil && c.New == nil })
	all.sort()
	return all
}

package mirror

import (
	"iter"
	"strings"

	"github.com/tidwall/btree"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// KeyValue is a key as etcd has it. Key and Value are strings because a snapshot never changes;
// a string may hold any bytes.
type KeyValue struct {
	Key            string
	Value          string
	CreateRevision int64
	ModRevision    int64
	Version        int64
	Lease          clientv3.LeaseID // 0: none
}

// size is the bytes of the key and the value.
func (kv *KeyValue) size() int { return len(kv.Key) + len(kv.Value) }

// newKeyValue copies a key and its value into one allocation.
func newKeyValue(kv *mvccpb.KeyValue) *KeyValue {
	var b strings.Builder
	b.Grow(len(kv.Key) + len(kv.Value))
	b.Write(kv.Key)
	b.Write(kv.Value)
	return &KeyValue{
		Key: b.String()[:len(kv.Key)], Value: b.String()[len(kv.Key):],
		CreateRevision: kv.CreateRevision, ModRevision: kv.ModRevision, Version: kv.Version,
		Lease: clientv3.LeaseID(kv.Lease),
	}
}

// tree is the copy-on-write B-tree below snapshots. Copy marks the tree that is copied, too: a
// published tree is only read, and copies are made of the one that the replica keeps for itself.
//
// A btree.BTreeG of entries alone saves 16 bytes a key and made Get three times as slow.
type tree = btree.Map[string, *KeyValue]

// Snapshot is the prefix at one revision. It never changes, and any number of goroutines may
// read it, without a lock. One that is kept shares what did not change with later ones. The
// zero Snapshot is empty, at revision 0.
type Snapshot struct {
	tree     *tree // nil: empty
	revision int64
	epoch    uint64
	seq      uint64 // counts a mirror's snapshots
}

// Revision is the newest revision at which the prefix is known to have looked like this.
func (s *Snapshot) Revision() int64 { return s.revision }

// Epoch counts how often etcd's history was replaced below the mirror: by a wiped database, a
// restored backup, another cluster. Revisions of one epoch say nothing about those of another.
func (s *Snapshot) Epoch() uint64 { return s.epoch }

// withoutEntries is the snapshot without its entries.
func (s *Snapshot) withoutEntries() *Snapshot {
	return &Snapshot{revision: s.revision, epoch: s.epoch, seq: s.seq}
}

// nodes is roughly how many of the tree's nodes a number of changes replaces, nodeSize each.
func (s *Snapshot) nodes(changes int) int {
	const fan = 32
	levels := 1
	for n := s.Len() / fan; n > 0; n /= fan {
		levels++
	}
	return min(changes*levels, 1+s.Len()/fan)
}

const nodeSize = 2 << 10

// SameEntries tells whether the two are copies of the prefix between which nothing happened to
// it. It compares no entries, and a false may be wrong.
func (s *Snapshot) SameEntries(other *Snapshot) bool { return s.tree == other.tree }

// Len is the number of keys.
func (s *Snapshot) Len() int {
	if s.tree == nil {
		return 0
	}
	return s.tree.Len()
}

// Get returns the key's entry, and whether there is one. The key includes the prefix.
func (s *Snapshot) Get(key string) (KeyValue, bool) {
	if s.tree == nil {
		return KeyValue{}, false
	}
	kv, ok := s.tree.Get(key)
	if !ok {
		return KeyValue{}, false
	}
	return *kv, true
}

// All are the entries in the order of their keys.
func (s *Snapshot) All() iter.Seq[KeyValue] { return s.WithPrefix("") }

// WithPrefix are the entries whose keys begin with p, in the order of their keys.
func (s *Snapshot) WithPrefix(p string) iter.Seq[KeyValue] {
	return func(yield func(KeyValue) bool) {
		if s.tree == nil {
			return
		}
		s.tree.Ascend(p, func(key string, kv *KeyValue) bool {
			return strings.HasPrefix(key, p) && yield(*kv)
		})
	}
}

// cursor goes through a snapshot's entries in order.
type cursor struct {
	at  btree.MapIter[string, *KeyValue]
	ok  bool // there is an entry
	key string
}

func (s *Snapshot) cursor() *cursor {
	c := new(cursor)
	if s.tree != nil {
		c.at = s.tree.Iter()
		c.set(c.at.First())
	}
	return c
}

func (c *cursor) set(ok bool) {
	if c.ok = ok; ok {
		c.key = c.at.Key()
	}
}

func (c *cursor) next()            { c.set(c.at.Next()) }
func (c *cursor) entry() *KeyValue { return c.at.Value() }

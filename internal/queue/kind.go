package queue

import (
	"cmp"
	"slices"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// Kind is what an entry has to wait for. The zero Kind excludes all others.
//
// It is in the key, so that keys alone show what is ahead: NAME/LEASE-SLOT excludes all;
// NAME/rLEASE-SLOT is shared; NAME/LEASE-SLOT.3of10 takes 3 of 10. Every other key excludes all,
// clientv3's and those of no known form: a client that can write a key below the name can keep
// others out, and cannot let them in. (The one exception: to shared entries, what begins with r and a
// hexadecimal digit is one of them. Reading the names of all readers costs too much.)
//
// Entries that count may do so to different sizes, as when a new size is being deployed. Each waits
// until those ahead and it have no more than the smallest size among them, so no client ever lets
// in more than it was told to. The one in front always has its turn.
type Kind struct {
	Shared       bool // with others that are shared; waits for those that are not
	Weight, Size int  // waits until those ahead and it have no more than Size; 0: does not count
	// Unique has a key that never was, so that it can be known without a nonce in its value. It
	// costs the server more, until the next compaction: for what happens seldom.
	Unique bool
}

const (
	sharedMark = "r" // no hexadecimal digit, and after all of them
	// MostSize is the largest Size: an entry that counts knows all entries ahead of it.
	MostSize = 10_000
	// takesAll is what an entry takes that excludes all others: more than any size.
	takesAll = 1 << 30
)

// aheadOps are reads of those that an entry of this kind waits for: as many of the newest as it needs
// to know, besides itself. The answers are for ahead.
func (k Kind) aheadOps(prefix string, also ...clientv3.OpOption) []clientv3.Op {
	opts := append([]clientv3.OpOption{clientv3.WithKeysOnly()}, also...)
	if k.Size == 0 {
		opts = append(opts, clientv3.WithSort(clientv3.SortByCreateRevision, clientv3.SortDescend), clientv3.WithLimit(knownAhead+2))
	}
	if !k.Shared {
		return []clientv3.Op{clientv3.OpGet(prefix, append(opts, clientv3.WithPrefix())...)}
	}
	var ops []clientv3.Op
	for _, r := range exclusiveRanges(prefix) {
		ops = append(ops, clientv3.OpGet(r[0], append(opts[:len(opts):len(opts)], clientv3.WithRange(r[1]))...))
	}
	return ops
}

// reads is how many operations aheadOps has.
func (k Kind) reads() int {
	if k.Shared {
		return 3
	}
	return 1
}

// exclusiveRanges are the ranges of keys that are not of shared entries.
func exclusiveRanges(prefix string) [3][2]string {
	const afterDigits = ":" // after 9
	mark := prefix + sharedMark
	return [3][2]string{
		{prefix, mark + "0"},
		{mark + afterDigits, mark + "a"},
		{mark + "g", clientv3.GetPrefixRangeEnd(prefix)},
	}
}

// ahead are those that an entry of this kind waits for, in the order in which they came, of the
// answers to aheadOps; and whether there may be more before them.
func (k Kind) ahead(e *Entry, answers []*pb.ResponseOp) (kvs []*mvccpb.KeyValue, partial bool) {
	for _, a := range answers {
		for _, kv := range a.GetResponseRange().Kvs {
			if string(kv.Key) != e.Key && kv.CreateRevision <= e.Revision {
				kvs = append(kvs, kv)
			}
		}
	}
	slices.SortFunc(kvs, func(a, b *mvccpb.KeyValue) int { return cmp.Compare(a.CreateRevision, b.CreateRevision) })
	if k.Size == 0 && len(kvs) > knownAhead {
		return kvs[len(kvs)-knownAhead-1:], true
	}
	return kvs, false
}

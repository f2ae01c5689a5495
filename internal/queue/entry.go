package queue

import (
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/lease"
)

// Entry is one place in the queue. What is not guarded belongs to the call that enters, waits or
// leaves with it.
type Entry struct {
	Key      string
	Revision int64 // at which it was created: the fencing token; 0: not known to be in etcd
	Lease    *lease.Lease
	Value    string // what people read of it, with a nonce, unless it is Unique: no other entry has it
	Kind     Kind

	Wanted []clientv3.Op           // what the caller wants to read when its turn comes
	Reads  []*clientv3.GetResponse // the results

	late    lateWrite
	slot    int
	unclaim func()        // gives the key back; nil: it is another entry's; guarded by slots.mu
	woken   chan struct{} // wakes the goroutine that waits for the entry, or watches its key

	// The rest is guarded by its view's mu.

	ahead        ahead
	readsCurrent bool   // Reads are of when none was ahead any more
	hadTurn      bool   // its turn came
	deleted      bool   // by another client
	knownValue   string // its value in etcd, as far as is known
	seenAt       int64  // the revision of the latest read that found it

	subscription
	ownWatch
}

// KeyValue is an entry as etcd has it.
type KeyValue = mvccpb.KeyValue

// entryID names an entry: keys are used again, with another revision.
type entryID struct {
	key      string
	revision int64 // at which it was created
}

func (e *Entry) id() entryID { return entryID{e.Key, e.Revision} }

// Guard is true in etcd as long as the entry is there.
func (e *Entry) Guard() clientv3.Cmp {
	return clientv3.Compare(clientv3.CreateRevision(e.Key), "=", e.Revision)
}

// wake wakes the goroutine that waits for the entry. It does not block.
func (e *Entry) wake() {
	select {
	case e.woken <- struct{}{}:
	default:
	}
}

// allowed tells whether no entry is ahead that this one waits for. view.mu is held.
func (e *Entry) allowed() bool { return e.ahead.allows(e.Kind) }

// place records which entries are ahead, in the order in which they came, as of a revision. view.mu
// is held.
func (e *Entry) place(v *view, kvs []*KeyValue, partial bool, at int64) {
	e.ahead.forget()
	e.ahead.partial, e.ahead.at, e.readsCurrent = partial, at, true
	e.caughtUp = false // deletions that were reported already may be later
	for _, kv := range kvs {
		key := string(kv.Key)
		e.ahead.add(key, e.Kind.takes(key[len(v.prefix):]))
		if kv.CreateRevision > e.ahead.last.revision {
			e.ahead.last = entryID{key, kv.CreateRevision}
		}
	}
	if partial {
		e.ahead.previous = v.local[e.ahead.last]
	}
}

// takeTurn tells whether no entry is ahead and the caller's reads are made.
func (q *Queue) takeTurn(e *Entry) bool {
	v := q.lockView()
	defer v.mu.Unlock()
	if e.Revision == 0 || e.deleted || !e.allowed() || !e.readsCurrent && len(e.Wanted) > 0 {
		return false
	}
	e.hadTurn, e.ahead.previous = true, nil
	return true
}

package queue

import (
	"sync"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// slots number the entries of a name on each lease. The smallest number that is free comes next: see the
// package's comment.
type slots struct {
	mu   sync.Mutex
	next map[clientv3.LeaseID]int // below it none is free
}

// claimKey gives the entry a key that no other entry on its lease has.
func (q *Queue) claimKey(e *Entry) {
	s := &q.view().slots
	s.mu.Lock()
	defer s.mu.Unlock()
	for slot := s.next[e.Lease.ID()]; ; slot++ {
		e.Key, e.slot = e.Kind.key(q.prefix, int64(e.Lease.ID()), slot), slot
		if unclaim, ok := q.keeper.Claim(e.Key); ok {
			e.unclaim = unclaim
			s.next[e.Lease.ID()] = slot + 1
			return
		}
	}
}

// releaseKey gives the key back, once the entry is not in etcd and cannot come there.
func (q *Queue) releaseKey(e *Entry) {
	s := &q.view().slots
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.unclaim == nil {
		return
	}
	e.unclaim()
	e.unclaim = nil
	switch next, ok := s.next[e.Lease.ID()]; {
	case e.Lease.Err() != nil: // there will be no more on it
		delete(s.next, e.Lease.ID())
	case ok && e.slot < next:
		s.next[e.Lease.ID()] = e.slot
	}
}

// passKey returns an entry that has the key of e from now on, and will release it. It is nil if e has
// none any more.
func (q *Queue) passKey(e *Entry) *Entry {
	s := &q.view().slots
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.unclaim == nil {
		return nil
	}
	late := &Entry{Key: e.Key, Value: e.Value, Kind: e.Kind, Lease: e.Lease, slot: e.slot, unclaim: e.unclaim}
	e.unclaim = nil
	return late
}

package registry

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/health"
	"github.com/etcdkit/etcdkit/lease"
)

// A key that was there for stableAfter before it was lost is written again without a pause: only quick
// losses in a row lead to one.
const stableAfter = time.Second

// entry is one key: the value that is wanted there, and what is known to be there. table.mu guards it. Callers
// change what is wanted, the worker and the watcher what is known.
type entry struct {
	key           string
	service       string        // the prefix of its service's keys
	updating      chan struct{} // has room for one Update; taken before table.mu
	instance      Instance
	wanted        record // the instance, and what its checks found
	withdrawing   bool   // nothing is wanted
	withdrawTried bool   // a try of withdrawing it has begun
	unclaim       func() // gives the key back to the Keeper

	monitor          *health.Monitor // of the instance's checks; nil: it has none
	results          []health.Result // as of the last change of a status
	override         *Override       // of an operator; nil: none
	overrideRevision int64           // its mod revision; 0: there is none
	stopChecks       chan struct{}   // closed when its checks end for good

	written        bool // the key is on lease, with the value stored
	unverified     bool // written, but another client may have changed that unnoticed
	stored         record
	revision       int64              // of the last write of this entry; 0: there was none yet
	lease          *lease.Lease       // that the room for the key is reserved on
	writtenOn      *lease.Lease       // the one that the key was last known to be on
	ourLeases      []clientv3.LeaseID // those that it may be on, or was on
	replace        int64              // mod revision of the key to overwrite: it is on an earlier lease of this entry, or of a process that is gone
	withdrawn      bool               // its key is gone
	othersRevision int64              // the last revision at which another client changed the key
	ownerLease     ownerLease
	target         *target // the watch that reports the key's events; nil: none yet. watcher.mu guards it
	saidDraining   bool    // draining is in etcd, or etcd refuses it
	tries          int     // in a row after which the key was not as wanted

	unansweredOn []*lease.Lease // that writes without an answer may have put it on, since it was last known
	lateUntil    time.Time      // until then a try of registering it may still be carried out

	lastErr     error     // of the last try, nil once written
	finalErr    error     // lastErr, if waiting on does not help; nil again when something else is wanted
	nextTry     time.Time // not to be tried before, unless something happens
	lossesInRow int       // each soon after it was written
	notBefore   time.Time // not to be tried before, whatever happens
	lostBecause string
	since       time.Time // of Registered in State
	lossCount   int
	losses      map[Loss]uint64 // the same by what; nil: none
	changed     chan struct{}
}

// record is a value in etcd, with the status in it.
type record struct {
	value  string
	status Status
}

func newEntry(prefix string, i Instance, checks []health.Check) (*entry, error) {
	i.Weight, i.Status = cmp.Or(i.Weight, 1), cmp.Or(i.Status, Passing)
	if len(checks) > 0 {
		i.Checks = nil // the checks set them
	}
	value, err := i.Encode()
	if err != nil {
		return nil, err
	}
	if i.Raw == "" {
		if err := dialable(i.Addr); err != nil {
			return nil, err
		}
	}
	if err := i.fits(checks); err != nil {
		return nil, err
	}
	return &entry{
		key: keyOf(prefix, i.Service, i.ID), service: keyOf(prefix, i.Service, ""), instance: i.clone(), wanted: record{value, i.Status},
		since: time.Now(), changed: make(chan struct{}), stopChecks: make(chan struct{}), updating: make(chan struct{}, 1),
	}, nil
}

// asWanted: the key is as it should be.
func (e *entry) asWanted() bool {
	if e.withdrawing {
		return e.withdrawn
	}
	return e.written && !e.unverified && e.stored.value == e.wanted.value
}

// neverWritten: it leaves, and was never written. Only between tries of the worker that is certain.
func (e *entry) neverWritten() bool {
	return e.withdrawing && (e.lease == nil || e.revision == 0 && len(e.unansweredOn) == 0)
}

// leasesRevoked: the leases that the key can be on were revoked, and the key with them.
func (e *entry) leasesRevoked() bool {
	for _, l := range append([]*lease.Lease{e.lease, e.writtenOn}, e.unansweredOn...) {
		if l != nil && !errors.Is(l.Err(), lease.ErrClosed) && !errors.Is(l.Err(), lease.ErrRevoked) {
			return false
		}
	}
	return true
}

// status is the one that consumers see, or will see when the key is written.
func (e *entry) status() Status {
	if e.written && e.stored.value != e.wanted.value {
		return e.stored.status
	}
	return e.wanted.status
}

// notify wakes the calls that wait for the entry.
func (e *entry) notify() {
	close(e.changed)
	e.changed = make(chan struct{})
}

// setLost records that the key is not ours any more, and reports whether it was. It is written again: at
// once, unless another client takes it away again and again.
func (e *entry) setLost(l lossCause) bool {
	if !e.written {
		return false
	}
	now := time.Now()
	if e.lossesInRow++; now.Sub(e.since) > stableAfter {
		e.lossesInRow = 0
	}
	if e.lossesInRow > 1 {
		e.notBefore = now.Add(min(firstPause<<min(e.lossesInRow-2, 10), maxPause))
	}
	e.written, e.unverified, e.lostBecause, e.since = false, false, l.text, now
	e.lossCount++
	if e.losses == nil {
		e.losses = make(map[Loss]uint64)
	}
	e.losses[l.kind]++
	e.notify()
	return true
}

// setStored records our value under the key. It reports whether another client has changed the key since.
func (e *entry) setStored(value record, revision int64) (changed bool) {
	if !e.written {
		e.since = time.Now()
	}
	e.written, e.unverified, e.stored, e.revision, e.writtenOn = true, false, value, revision, e.lease
	e.saidDraining = e.saidDraining || e.withdrawing && value.status == Draining
	e.lastErr, e.finalErr, e.replace, e.ownerLease, e.nextTry, e.tries, e.unansweredOn = nil, nil, 0, ownerLease{}, time.Time{}, 0, nil
	changed = e.othersRevision > revision // before the answer came
	e.othersRevision = 0                  // it counts once: a replaced history begins again below it
	e.notify()
	return changed
}

// failed records a try that failed, and when the next one is due.
func (e *entry) failed(err error, pause time.Duration) {
	e.lastErr, e.nextTry = err, time.Now().Add(pause)
	e.notify()
}

// refused is failed with an error that callers get at once.
func (e *entry) refused(err error, pause time.Duration) {
	e.finalErr = err
	e.failed(err, pause)
}

// onOurLease reports whether this entry wrote a key in etcd, by its lease: lease ids are random, and no other
// process writes with one of this entry's.
func (e *entry) onOurLease(kv *mvccpb.KeyValue) bool {
	return kv.Lease != 0 && slices.Contains(e.ourLeases, clientv3.LeaseID(kv.Lease))
}

// reserved records the lease that the key goes on next.
func (e *entry) reserved(l *lease.Lease) {
	if e.lease != nil {
		e.lease.Unreserve(1)
	}
	e.lease = l
	e.ourLeases = append(e.ourLeases, l.ID())
	if len(e.ourLeases) > 8 { // earlier ones have ended long ago
		e.ourLeases = e.ourLeases[1:]
	}
}

const leavingReason = "leaving" // of an instance that drains because it is withdrawn

// drainingRecord is the record that says draining, unless that was said already.
func (e *entry) drainingRecord() (record, bool) {
	if e.saidDraining || !e.written || e.instance.Raw != "" || e.instance.Status == Draining || e.lease.Err() != nil {
		return record{}, false
	}
	last := e.withChecks()
	last.drain(leavingReason)
	value, err := last.Encode()
	return record{value, Draining}, err == nil
}

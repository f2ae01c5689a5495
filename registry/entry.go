package registry

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/health"
	"github.com/etcdkit/etcdkit/internal/quote"
	"github.com/etcdkit/etcdkit/lease"
)

// entry is one key: what should stand there, and what is known to stand there. Registrar.mu
// guards it; only the worker and what it starts change what is known.
type entry struct {
	key      string
	unclaim  func()     // gives the key back to the Keeper
	updating sync.Mutex // one Update at a time; taken before Registrar.mu
	instance Instance
	wanted   record // the instance, and what its checks found
	leaving  bool   // nothing is wanted

	monitor   *health.Monitor // of the instance's checks; nil: it has none
	checks    []health.Result // as of the last change of a status
	dismissal chan struct{}   // closed when there shall be no checks any more

	written  bool // the key is ours, on lease, with the value there
	doubted  bool // written, but another client may have changed that unnoticed
	there    record
	revision int64        // of our last write; 0: there was none yet
	lease    *lease.Lease // that the room for the key is reserved on
	on       *lease.Lease // that the key was last known to be on
	ours     []clientv3.LeaseID
	replace  int64  // mod revision of a key on a lease that is given up, ours or that of a process that is gone, to be overwritten
	gone     bool   // withdrawn
	foreign  int64  // the last revision at which another client changed the key
	watch    string // the target that tells of the key; "": none yet
	rival    rival
	farewell bool // draining was said, or cannot be
	tries    int  // in a row that settled nothing

	untold []*lease.Lease // that writes without an answer may have put it on, since it was last known
	late   time.Time      // until then a try of registering it may still be carried out

	trouble error     // of the last try, nil once written
	verdict error     // trouble that callers need not wait on with; nil with every new wish
	next    time.Time // not to be tried before, unless something happens
	flaps   int       // losses in a row, each soon after it was written
	calm    time.Time // not to be tried before, whatever happens
	reason  string
	since   time.Time // of Registered in State
	again   int
	losses  map[Loss]uint64 // how often by what; nil: never
	all     map[Loss]uint64 // the registrar's
	changed chan struct{}
}

// record is a value in etcd, with the status that it tells.
type record struct {
	value  string
	status Status
}

func newEntry(prefix string, i Instance, checks []health.Check) (*entry, error) {
	if i.Weight == 0 {
		i.Weight = 1
	}
	if i.Status == "" {
		i.Status = Passing
	}
	if len(checks) > 0 {
		i.Checks = nil // theirs to say
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
		key: prefix + i.Service + "/" + i.ID, instance: i.clone(), wanted: record{value, i.Status},
		since: time.Now(), changed: make(chan struct{}), dismissal: make(chan struct{}),
	}, nil
}

// service is the prefix that the key shares with those of the same service.
func (e *entry) service() string { return e.key[:strings.LastIndexByte(e.key, '/')+1] }

// settled: the key is as it should be.
func (e *entry) settled() bool {
	if e.leaving {
		return e.gone
	}
	return e.written && !e.doubted && e.there.value == e.wanted.value
}

// unwritten: it leaves, and was never written. Only between tries of the worker that is certain.
func (e *entry) unwritten() bool {
	return e.leaving && (e.lease == nil || e.revision == 0 && len(e.untold) == 0)
}

// revoked: the leases that the key can be on were revoked, and the key with them.
func (e *entry) revoked() bool {
	for _, l := range append([]*lease.Lease{e.lease, e.on}, e.untold...) {
		if l != nil && !errors.Is(l.Err(), lease.ErrClosed) && !errors.Is(l.Err(), lease.ErrRevoked) {
			return false
		}
	}
	return true
}

// status is the one that consumers see, or will see when the key is written.
func (e *entry) status() Status {
	if e.written && e.there.value != e.wanted.value {
		return e.there.status
	}
	return e.wanted.status
}

// tell wakes the calls that wait for the entry.
func (e *entry) tell() {
	close(e.changed)
	e.changed = make(chan struct{})
}

// lost records that the key is no longer ours, if it was. It will be again: at once, unless
// another client takes it away again and again.
func (e *entry) lost(reason string) bool {
	if !e.written {
		return false
	}
	now := time.Now()
	if e.flaps++; now.Sub(e.since) > stoodLong {
		e.flaps = 0
	}
	if e.flaps > 1 {
		e.calm = now.Add(min(firstPause<<min(e.flaps-2, 10), maxPause))
	}
	e.written, e.doubted, e.reason, e.since = false, false, reason, now
	e.again++
	if e.losses == nil {
		e.losses = make(map[Loss]uint64)
	}
	e.losses[lossOf(reason)]++
	e.all[lossOf(reason)]++
	e.tell()
	return true
}

// holds records our value under the key.
func (e *entry) holds(there record, revision int64) {
	if !e.written {
		e.since = time.Now()
	}
	e.written, e.doubted, e.there, e.revision, e.on = true, false, there, revision, e.lease
	e.farewell = e.farewell || e.leaving && there.status == Draining
	e.trouble, e.verdict, e.replace, e.rival, e.next, e.tries, e.untold = nil, nil, 0, rival{}, time.Time{}, 0, nil
	foreign := e.foreign
	e.foreign = 0           // it counts once: a replaced history begins anew below it
	if foreign > revision { // it was changed before the answer came
		e.lost(keyChanged)
	}
	e.tell()
}

// fails records a try that failed, and when the next one is due. With a verdict callers
// hear of it at once.
func (e *entry) fails(err error, pause time.Duration, verdict bool) {
	e.trouble, e.next = err, time.Now().Add(pause)
	if verdict {
		e.verdict = err
	}
	e.tell()
}

// owned tells whether a key in etcd is ours, by its lease: lease ids are random and nobody
// else's.
func (e *entry) owned(kv *mvccpb.KeyValue) bool {
	return kv.Lease != 0 && slices.Contains(e.ours, clientv3.LeaseID(kv.Lease))
}

// reserved records the lease that the key goes on next.
func (e *entry) reserved(l *lease.Lease) {
	if e.lease != nil {
		e.lease.Unreserve(1)
	}
	e.lease = l
	e.ours = append(e.ours, l.ID())
	if len(e.ours) > 8 { // earlier ones have ended long ago
		e.ours = e.ours[1:]
	}
}

const leavingReason = "leaving" // of an instance that drains because it is withdrawn

// goodbye is the record that says draining, unless it was said already.
func (e *entry) goodbye() (record, bool) {
	if e.farewell || !e.written || e.instance.Raw != "" || e.instance.Status == Draining || e.lease.Err() != nil {
		return record{}, false
	}
	last := e.shown()
	last.Status, last.Reason = Draining, leavingReason
	value, err := last.Encode()
	return record{value, Draining}, err == nil
}

// rival is a look at another process's lease on our key.
type rival struct {
	lease           int64
	remaining       time.Duration // at some time between the two
	asked, answered time.Time
	term            uint64 // of raft: a new leader starts every lease's time anew; 0: it has not yet
}

// comparable tells whether two looks can say anything about the owner.
func (v rival) comparable(later rival) bool {
	return v.lease == later.lease && v.term == later.term && v.term != 0
}

// renewed tells from two looks whether the owner lives. etcd rounds to seconds.
func (v rival) renewed(later rival) bool {
	return v.comparable(later) && later.remaining > v.remaining-later.asked.Sub(v.answered)+1500*time.Millisecond
}

// owner is the process that has a key, as its value says. It is for people: any client can write anything there.
type owner struct {
	who  string
	gone bool   // provably
	why  string // not
}

// ownerOf reads a value, and looks whether the process is gone.
func ownerOf(prefix string, kv *mvccpb.KeyValue) owner {
	i, err := Decode(prefix, string(kv.Key), string(kv.Value))
	if err != nil || i.PID == 0 {
		return owner{
			who: "a process that does not identify itself, with the value " + quote.Cut(string(kv.Value), 40),
			why: "its record does not tell which process it is",
		}
	}
	o := owner{who: fmt.Sprintf("pid %d on host %s", i.PID, quote.Word(i.Host))}
	p := recordedProcess(string(kv.Value))
	if p != nil {
		o.who += ", since " + time.Unix(p.since, 0).UTC().Format(time.RFC3339)
	}
	o.gone, o.why = p.gone(i.PID)
	return o
}

package registry

import (
	"fmt"
	"os"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/lease"
)

// entry is one key: what should stand there, and what is known to stand there. Registrar.mu
// guards it; only the worker changes what is known.
type entry struct {
	key      string
	instance Instance
	value    string // wanted
	leaving  bool   // nothing is wanted
	refused  error  // it cannot be had, and is not tried again

	written  bool         // the key is ours, on lease, with the value there
	there    string       // the value
	revision int64        // of our last write
	lease    *lease.Lease // that the room for the key is reserved on
	ours     []clientv3.LeaseID
	replace  int64 // mod revision of a key of ours on an earlier lease, to be overwritten
	gone     bool  // withdrawn
	foreign  int64 // the last revision at which somebody else changed the key
	rival    rival

	trouble error // of the last try, nil once written
	reason  string
	since   time.Time // of Registered in State
	again   int
	changed chan struct{}
}

func newEntry(prefix string, i Instance) (*entry, error) {
	if i.Weight == 0 {
		i.Weight = 1
	}
	if i.Status == "" {
		i.Status = Passing
	}
	value, err := i.Encode()
	if err != nil {
		return nil, err
	}
	return &entry{
		key: prefix + i.Service + "/" + i.ID, instance: i, value: value,
		since: time.Now(), changed: make(chan struct{}),
	}, nil
}

// settled: the key is as it should be.
func (e *entry) settled() bool {
	if e.leaving {
		return e.gone
	}
	return e.written && e.there == e.value
}

// tell wakes whoever waits for the entry.
func (e *entry) tell() {
	close(e.changed)
	e.changed = make(chan struct{})
}

// lost takes note that the key is ours no longer. It will be again.
func (e *entry) lost(reason string) {
	if !e.written {
		return
	}
	e.written, e.reason, e.since = false, reason, time.Now()
	e.again++
	e.tell()
}

// holds takes note of our value under the key.
func (e *entry) holds(value string, revision int64) {
	if !e.written {
		e.since = time.Now()
	}
	e.written, e.there, e.revision, e.trouble, e.replace, e.rival = true, value, revision, nil, 0, rival{}
	if e.foreign > revision { // it was changed before the answer came
		e.lost("its key was changed by somebody else")
	}
	e.tell()
}

// fails takes note of a try that failed.
func (e *entry) fails(err error) {
	e.trouble = err
	e.tell()
}

// refuse gives up on the entry.
func (e *entry) refuse(err error) {
	e.refused, e.trouble = err, err
	if e.leaving {
		e.gone = true
	}
	e.tell()
}

// owned tells whether a key in etcd is ours, by its lease: lease ids are random and nobody
// else's.
func (e *entry) owned(kv *mvccpb.KeyValue) bool {
	return kv.Lease != 0 && slices.Contains(e.ours, clientv3.LeaseID(kv.Lease))
}

// rival is what is known of another process's lease on our key.
type rival struct {
	lease     int64
	remaining time.Duration
	asked     time.Time
}

// alive tells from two looks at its lease whether the rival renews it.
func (v rival) alive(remaining time.Duration) bool {
	return v.lease != 0 && remaining > v.remaining-time.Since(v.asked)+1500*time.Millisecond
}

// exists is the error that names who has the key.
func exists(prefix string, kv *mvccpb.KeyValue) error {
	who := "a process that does not say who it is"
	if i, err := Decode(prefix, string(kv.Key), string(kv.Value)); err == nil && i.PID != 0 {
		who = fmt.Sprintf("pid %d on host %s", i.PID, i.Host)
		if host, err := os.Hostname(); err == nil && host == i.Host {
			who += " (this host)"
		}
	}
	return fmt.Errorf("%w: %s; choose another ID, or stop it", ErrExists, who)
}

package mirror

import (
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/etcdkit/etcdkit/internal/ask"
	"github.com/etcdkit/etcdkit/internal/errtext"
)

// Reason is why the prefix was read again, in full.
type Reason string

const (
	// Compacted: etcd has forgotten changes that the mirror had not seen.
	Compacted Reason = "compacted"
	// Regressed: etcd's revision is below one that it had already confirmed, as after a wiped
	// database or a restored backup.
	Regressed Reason = "revision went backwards"
	// OtherCluster: the cluster's ID is another one.
	OtherCluster Reason = "another cluster"
	// Diverged: what etcd says does not follow from what it said before.
	Diverged Reason = "history diverged"
	// Behind: the watch would have had to deliver thousands of revisions, or did not deliver what
	// it owed though it was replaced, and reading the prefix is cheaper.
	Behind Reason = "too far behind"
)

// breaks tells whether revisions before and after are of different histories.
func (r Reason) breaks() bool { return r != Compacted && r != Behind }

// State is what a mirror knows about itself at one moment.
type State struct {
	// Fresh: confirmed not long ago and nothing known to be missing. Otherwise the copy is
	// stale: the last good one, and Cause says why.
	Fresh bool
	// Since when it is fresh; or, stale, the last moment for which it is known to be complete.
	Since time.Time
	Cause error // nil while fresh

	// Confirmed: whatever was committed before this moment is in the copy, if it has not been
	// deleted since; proven by a linearizable read. ConfirmedRevision is what that read saw.
	Confirmed         time.Time
	ConfirmedRevision int64

	// Revision, Epoch and Keys are those of the newest Snapshot.
	Revision int64
	Epoch    uint64
	Keys     int

	ClusterID uint64
	MemberID  uint64 // the member that serves the watch; 0 while there is none
}

// Stats are the counters of a mirror's copy. Mirrors that share a copy share them.
type Stats struct {
	Transactions uint64 // applied, and Events in them
	Events       uint64
	Watches      uint64            // opened: one, and one for each that broke or was replaced
	Replaced     uint64            // of them, because they owed events for too long
	Rereads      map[Reason]uint64 // by reason; without the first reading
}

// record is the changing part of a mirror's state. replica.mu guards it.
type record struct {
	State // Fresh, Since, Cause, Revision, Epoch and Keys are made when asked for
	Stats
	gap        error     // the copy is known to be incomplete, or etcd refuses to confirm it (ErrDenied)
	trouble    error     // the last thing that went wrong since it was confirmed
	refused    time.Time // when etcd last refused the prefix
	freshSince time.Time
	reported   bool // what the log said last: fresh
}

// confirmed is the moment of the last confirmation.
func (r *replica) confirmed() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.record.Confirmed
}

// state is what mirrors say of the copy. r.mu is held.
func (r *replica) state() State {
	s, snapshot := r.record.State, r.Snapshot()
	s.Revision, s.Epoch, s.Keys = snapshot.revision, snapshot.epoch, snapshot.Len()
	age := time.Since(s.Confirmed)
	switch {
	case r.err != nil:
		s.Cause = r.err
	case r.record.gap != nil:
		s.Cause = r.record.gap
	case age > r.opts.staleAfter():
		s.Cause = fmt.Errorf("%w for %v", ErrUnconfirmed, age.Round(time.Millisecond))
		if r.record.trouble != nil {
			s.Cause = errtext.Errorf("%w: %w", s.Cause, r.record.trouble)
		}
	default:
		s.Fresh, s.Since = true, r.record.freshSince
		return s
	}
	s.Since = s.Confirmed
	return s
}

func (r *record) stats() Stats {
	s := r.Stats
	s.Rereads = maps.Clone(s.Rereads)
	return s
}

// confirm records that the copy has all that was committed before a moment.
func (r *replica) confirm(asked time.Time, revision int64) {
	r.mu.Lock()
	was := r.state().Fresh
	r.record.Confirmed, r.record.ConfirmedRevision = asked, revision
	r.record.gap, r.record.trouble = nil, nil
	r.staleTimer.Reset(r.opts.staleAfter() - time.Since(asked) + time.Millisecond) // of less than 0: at once
	if !was {
		r.record.freshSince = time.Now()
	}
	r.notify()
	r.mu.Unlock()
	ask.Of(r.cli).Answered()
	r.report()
}

// notify wakes those that wait for a confirmation or a failure. r.mu is held.
func (r *replica) notify() {
	if r.progress != nil {
		close(r.progress)
		r.progress = nil
	}
}

// recordTrouble records what stands between the mirror and its next confirmation.
func (r *replica) recordTrouble(err error) {
	r.mu.Lock()
	r.record.trouble = err
	if denied(err) {
		r.record.refused = time.Now()
	}
	if denied(err) || errors.Is(err, ErrGap) {
		r.record.gap = err
	}
	r.notify()
	r.mu.Unlock()
	if !ask.IsAnswer(err) && !errors.Is(err, ErrGap) {
		ask.Of(r.cli).Failed(err)
	}
	r.report()
}

// report tells of a change between fresh and stale.
func (r *replica) report() {
	r.mu.Lock()
	s := r.state()
	news := r.err == nil && s.Fresh != r.record.reported
	if news {
		r.record.reported = s.Fresh
		close(r.turned)
		r.turned = make(chan struct{})
	}
	r.mu.Unlock()
	switch {
	case !news:
	case s.Fresh:
		r.log.Info("mirror fresh", "revision", s.Revision, "epoch", s.Epoch, "keys", s.Keys)
	default:
		r.log.Warn("mirror stale", "for", time.Since(s.Since).Round(time.Millisecond), "revision", s.Revision, "cause", s.Cause)
	}
}

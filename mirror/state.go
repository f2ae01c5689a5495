package mirror

import (
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/etcdkit/etcdkit/internal/ask"
	"github.com/etcdkit/etcdkit/internal/cause"
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
	Replaced     uint64            // of them, because they owed an answer for too long
	Rereads      map[Reason]uint64 // by reason; without the first reading
}

// record is the changing part of a mirror's state. replica.mu guards it.
type record struct {
	State // Fresh, Since, Cause, Revision, Epoch and Keys are made when asked for
	Stats
	gap        error     // the copy is known to be incomplete, or may not be confirmed
	trouble    error     // the last thing that went wrong since it was confirmed
	refused    time.Time // when etcd last refused the prefix
	freshSince time.Time
	reported   bool // what the log said last: fresh
}

// confirmed is the moment of the last confirmation.
func (m *replica) confirmed() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.record.Confirmed
}

// state is what mirrors say of the copy. m.mu is held.
func (m *replica) state() State {
	s, snapshot := m.record.State, m.Snapshot()
	s.Revision, s.Epoch, s.Keys = snapshot.revision, snapshot.epoch, snapshot.Len()
	age := time.Since(s.Confirmed)
	switch {
	case m.err != nil:
		s.Cause = m.err
	case m.record.gap != nil:
		s.Cause = m.record.gap
	case age > m.opts.staleAfter():
		s.Cause = fmt.Errorf("%w for %v", ErrUnconfirmed, age.Round(time.Millisecond))
		if m.record.trouble != nil {
			s.Cause = cause.Errorf("%w: %w", s.Cause, m.record.trouble)
		}
	default:
		s.Fresh, s.Since = true, m.record.freshSince
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
func (m *replica) confirm(asked time.Time, revision int64) {
	m.mu.Lock()
	was := m.state().Fresh
	m.record.Confirmed, m.record.ConfirmedRevision = asked, revision
	m.record.gap, m.record.trouble = nil, nil
	m.aging.Reset(m.opts.staleAfter() - time.Since(asked) + time.Millisecond) // of less than 0: at once
	if !was {
		m.record.freshSince = time.Now()
	}
	m.notify()
	m.mu.Unlock()
	ask.Of(m.cli).Answered()
	m.report()
}

// notify wakes those that wait for a confirmation or a failure. m.mu is held.
func (m *replica) notify() {
	if m.progress != nil {
		close(m.progress)
		m.progress = nil
	}
}

// recordTrouble records what stands between the mirror and its next confirmation.
func (m *replica) recordTrouble(err error) {
	m.mu.Lock()
	m.record.trouble = err
	if denied(err) {
		m.record.refused = time.Now()
	}
	if denied(err) || errors.Is(err, ErrGap) {
		m.record.gap = err
	}
	m.notify()
	m.mu.Unlock()
	if !ask.IsAnswer(err) && !errors.Is(err, ErrGap) {
		ask.Of(m.cli).Failed(err)
	}
	m.report()
}

// report tells of a change between fresh and stale.
func (m *replica) report() {
	m.mu.Lock()
	s := m.state()
	news := m.err == nil && s.Fresh != m.record.reported
	if news {
		m.record.reported = s.Fresh
		close(m.turned)
		m.turned = make(chan struct{})
	}
	m.mu.Unlock()
	switch {
	case !news:
	case s.Fresh:
		m.log.Info("mirror fresh", "revision", s.Revision, "epoch", s.Epoch, "keys", s.Keys)
	default:
		m.log.Warn("mirror stale", "for", time.Since(s.Since).Round(time.Millisecond), "revision", s.Revision, "cause", s.Cause)
	}
}

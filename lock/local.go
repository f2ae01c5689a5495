package lock

import (
	"context"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/queue"
)

// Local has goroutines of one process hand a Mutex on among themselves: Release gives the hold to
// the next one of them without a word to etcd, for so long and so many times, and then it is the
// other processes' turn. (Commit always tells etcd, and so passes the turn on as it comes.)
//
// It gives up three things. Holds that are handed on share one token: what is fenced by it is safe
// from other processes, not from a goroutine of this one that goes on after its Release. Other
// processes wait longer, by For at the most. And if the key is deleted by hand within the first
// second, this process can go on for up to that second while another one has the lock.
type Local struct {
	For   time.Duration // since the first of these holds was acquired; 0: never
	Times int           // default 100, which 0 or less is, too
}

func (l Local) times() int {
	if l.Times <= 0 {
		return 100
	}
	return l.Times
}

// kept is what a Mutex with Local or Linger knows of the entry that it has in etcd.
type kept struct {
	entry   *queue.Entry // nil: none
	until   time.Time    // of Local
	times   int
	idle    bool // nobody of this process holds it
	company bool // another process waits
	linger  *time.Timer
	alone   context.CancelFunc // ends the watch for company
}

// hold makes the hold of an entry that was acquired, or handed on.
func (m *Mutex) hold(e *queue.Entry) *Hold {
	m.mu.Lock()
	if (m.local.For > 0 || m.linger > 0) && m.kept.entry != e {
		m.kept = kept{entry: e, until: time.Now().Add(m.local.For), times: m.local.times()}
	}
	m.mu.Unlock()
	return m.newHold(e)
}

// newHold makes a hold of this Mutex.
func (m *Mutex) newHold(e *queue.Entry) *Hold {
	h := newHold(&m.lock, e, m)
	m.mu.Lock()
	m.last = h
	m.mu.Unlock()
	return h
}

// handOn gives an entry that is released to the next of this process, or keeps it for a while. It
// is false when the release is for etcd.
func (m *Mutex) handOn(h *Hold) bool {
	if m.local.For <= 0 && m.linger <= 0 {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	k := &m.kept
	if k.entry != h.held.Entry() || h.held.Err() != nil {
		return false
	}
	if len(m.line) > 0 {
		if m.local.For <= 0 || k.times == 0 || time.Now().After(k.until) {
			return false
		}
		k.times--
		h.held.EndHere()
		m.next().turn <- turn{h.held.Entry(), true}
		return true
	}
	if m.linger <= 0 || k.company || m.ended {
		return false
	}
	h.held.EndHere()
	m.busy, k.idle = false, true
	if k.linger == nil {
		e := k.entry
		k.linger = time.AfterFunc(m.linger, func() { m.giveUp(e, false) })
		ctx, cancel := context.WithCancel(context.Background())
		k.alone = cancel
		m.queue.OnOthers(ctx, e, func() { m.giveUp(e, true) })
		return true
	}
	k.linger.Reset(m.linger)
	return true
}

// lingering is the entry that is kept for the next Acquire, or nil. m.mu is held.
func (m *Mutex) lingering() *queue.Entry {
	k := &m.kept
	if !k.idle {
		return nil
	}
	if k.entry.Lease.Err() != nil || m.queue.Deleted(k.entry) {
		m.remove()
		return nil
	}
	k.linger.Stop()
	k.idle = false
	k.times, k.until = m.local.times(), time.Now().Add(m.local.For)
	k.entry.Reads = nil // of the one before
	return k.entry
}

// giveUp ends the time of an entry that nobody needs; one that is held is released as ever.
func (m *Mutex) giveUp(e *queue.Entry, company bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.kept.entry != e {
		return
	}
	m.kept.company = m.kept.company || company
	if m.kept.idle {
		m.remove()
	}
}

// remove takes the entry that is kept out of etcd. m.mu is held.
func (m *Mutex) remove() {
	e := m.kept.entry
	m.forget(e)
	m.queue.Remove(e)
}

// forget is told that an entry is given up. m.mu is held.
func (m *Mutex) forget(e *queue.Entry) {
	if m.kept.entry != e {
		return
	}
	if m.kept.linger != nil {
		m.kept.linger.Stop()
		m.kept.alone()
	}
	m.kept = kept{}
}

// quick is an Acquire that needs nothing but the entry that is kept, or nil.
func (m *Mutex) quick(ctx context.Context, reads []clientv3.Op) *Hold {
	if m.linger <= 0 || len(reads) > 0 || ctx.Err() != nil {
		return nil
	}
	m.mu.Lock()
	if m.busy {
		m.mu.Unlock()
		return nil
	}
	e := m.lingering()
	m.busy = e != nil
	m.mu.Unlock()
	if e == nil {
		return nil
	}
	m.figures.NoWait()
	return m.newHold(e)
}

// again makes an entry that was handed on or kept the caller's, with what it wants to read.
func (m *Mutex) again(ctx context.Context, e *queue.Entry, reads []clientv3.Op) error {
	err := m.queue.Reread(ctx, e, reads)
	if err != nil {
		m.discard(e)
	}
	return err
}

// discard takes an entry out of etcd that nobody of this process holds.
func (m *Mutex) discard(e *queue.Entry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.forget(e)
	m.queue.Remove(e)
}

// Close ends the lock. Calls that wait are ErrClosed, and leave the queue. Release holds before: one
// that is not released is lost, and its entry is removed. While etcd cannot be reached Close takes 2 s
// at most, together with the Close of all other handles of the client, and what is left in etcd ends
// with its lease. It is idempotent.
func (m *Mutex) Close() error {
	m.end()
	return m.lock.Close()
}

// Shutdown is Close with a bound of the caller's: until ctx ends, and no longer than etcd's answers
// take. What it does not leave time for ends with its lease. Of Close and Shutdown the first one counts.
func (m *Mutex) Shutdown(ctx context.Context) error {
	m.end()
	return m.lock.Shutdown(ctx)
}

// end has nothing kept from now on.
func (m *Mutex) end() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ended = true
	if m.kept.idle {
		m.remove()
	}
}

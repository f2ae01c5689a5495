package lock

import (
	"context"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/queue"
)

// Local lets the goroutines of one process pass a Mutex on among themselves: Release gives the hold to
// the next of them without a request to etcd. After the time For, or so many Times, the other processes
// have their turn. (Commit always writes to etcd, so it gives the lock to the oldest entry there.)
//
// It has three costs. Holds that are passed on share one token: what is fenced by it is safe from other
// processes, but not from a goroutine of this one that goes on after its Release. Other processes wait
// longer, by For at most. And if the key is deleted by hand within the first second, this process can
// go on for up to that second while another one has the lock.
type Local struct {
	For   time.Duration // since the first of these holds was acquired; 0: never
	Times int           // 0 or less: 100
}

func (l Local) times() int {
	if l.Times <= 0 {
		return 100
	}
	return l.Times
}

// keptEntry is the entry that a Mutex with Local or Linger has in etcd.
type keptEntry struct {
	entry  *queue.Entry // nil: none
	until  time.Time    // Local passes it on until then
	times  int          // and so many times
	idle   bool         // no call of this process holds it
	others bool         // another process waits
	linger *time.Timer
	stop   context.CancelFunc // of the watch for others
}

// keep records the entry of a hold that begins. m.mu is held.
func (m *Mutex) keep(e *queue.Entry) {
	if (m.local.For > 0 || m.linger > 0) && m.kept.entry != e {
		m.kept = keptEntry{entry: e, until: time.Now().Add(m.local.For), times: m.local.times()}
	}
}

// acquireKept is an Acquire that needs no more than the entry that is kept; nil if there is none.
func (m *Mutex) acquireKept(ctx context.Context, reads []clientv3.Op) *Hold {
	if m.linger <= 0 || len(reads) > 0 || ctx.Err() != nil {
		return nil
	}
	done, ok := m.handle.Queue.BeginShort() // so that Close ends the hold
	if !ok {
		return nil
	}
	defer done()
	m.mu.Lock()
	if m.busy {
		m.mu.Unlock()
		return nil
	}
	e := m.takeKept()
	m.busy = e != nil
	m.mu.Unlock()
	if e == nil {
		return nil
	}
	m.handle.Counters.NoWait()
	return m.hold(e)
}

// takeKept returns the entry that is kept for the next Acquire, or nil. m.mu is held.
func (m *Mutex) takeKept() *queue.Entry {
	k := &m.kept
	if !k.idle {
		return nil
	}
	if k.entry.Lease.Err() != nil || m.handle.Queue.Deleted(k.entry) {
		m.removeKept()
		return nil
	}
	k.linger.Stop()
	k.idle = false
	k.times, k.until = m.local.times(), time.Now().Add(m.local.For)
	k.entry.Reads = nil // of the hold before
	return k.entry
}

// releaseLocally ends a hold and leaves its entry in etcd, for the next waiter of this process or, with
// Linger, for its next call. It is false if the entry must be removed from etcd.
func (m *Mutex) releaseLocally(h *Hold) bool {
	if m.local.For <= 0 && m.linger <= 0 {
		return false
	}
	if h.held.Err() != nil { // before m.mu is taken: a loss is logged, by code that may use this Mutex
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	k := &m.kept
	if k.entry != h.held.Entry() {
		return false
	}
	if len(m.waiters) > 0 {
		if m.local.For <= 0 || k.times == 0 || time.Now().After(k.until) {
			return false
		}
		k.times--
		h.held.EndHere()
		m.nextWaiter().turn <- turn{h.held.Entry(), true}
		return true
	}
	if m.linger <= 0 || k.others || m.ended {
		return false
	}
	h.held.EndHere()
	m.busy, k.idle = false, true
	if k.linger == nil {
		e := k.entry
		k.linger = time.AfterFunc(m.linger, func() { m.stopKeeping(e, false) })
		ctx, cancel := context.WithCancel(context.Background())
		k.stop = cancel
		m.handle.Queue.OnOthers(ctx, e, func() { m.stopKeeping(e, true) })
		return true
	}
	k.linger.Reset(m.linger)
	return true
}

// reread takes over an entry that another call of this process held, and reads what this call wants.
func (m *Mutex) reread(ctx context.Context, e *queue.Entry, reads []clientv3.Op) error {
	err := m.handle.Queue.Reread(ctx, e, reads)
	if err != nil {
		m.remove(e)
	}
	return err
}

// stopKeeping removes an entry that has been idle for Linger, or that another process waits for. One
// that is held stays until its Release, which then removes it.
func (m *Mutex) stopKeeping(e *queue.Entry, others bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.kept.entry != e {
		return
	}
	m.kept.others = m.kept.others || others
	if m.kept.idle {
		m.removeKept()
	}
}

// removeKept removes the entry that is kept from etcd. m.mu is held.
func (m *Mutex) removeKept() {
	e := m.kept.entry
	m.forget(e)
	m.handle.Queue.RemoveLater(e)
}

// forget ends the keeping of an entry. m.mu is held.
func (m *Mutex) forget(e *queue.Entry) {
	if m.kept.entry != e {
		return
	}
	if m.kept.linger != nil {
		m.kept.linger.Stop()
		m.kept.stop()
	}
	m.kept = keptEntry{}
}

// remove removes an entry that no call of this process holds from etcd.
func (m *Mutex) remove(e *queue.Entry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.forget(e)
	m.handle.Queue.RemoveLater(e)
}

// endKept removes the entry that is kept. None is kept from now on.
func (m *Mutex) endKept() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ended = true
	if m.kept.idle {
		m.removeKept()
	}
}

package cluster

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"
)

// network holds the faults between members that the proxies enforce. Without faults a proxy
// pays one atomic load for each chunk of bytes.
type network struct {
	mu    sync.Mutex // one writer at a time
	rules atomic.Pointer[rules]
}

// rules is immutable; a change replaces it and closes changed.
type rules struct {
	cut     map[link]bool
	delay   map[string]time.Duration // by member, one way
	changed chan struct{}
}

// link joins two members, in either order, or a member and the clients of its client port.
type link struct{ a, b string }

const (
	// clients stands for all that connect to a client port.
	clients = "clients"
	// unknownPeer is a process that connects to a peer port and is not a member: it has no link.
	unknownPeer = "?"
)

func linkOf(a, b string) link {
	if a > b {
		a, b = b, a
	}
	return link{a, b}
}

func newNetwork() *network {
	n := &network{}
	n.rules.Store(&rules{changed: make(chan struct{})})
	return n
}

func (n *network) change(f func(*rules)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	old := n.rules.Load()
	next := &rules{cut: maps.Clone(old.cut), delay: maps.Clone(old.delay), changed: make(chan struct{})}
	if next.cut == nil {
		next.cut = make(map[link]bool)
	}
	if next.delay == nil {
		next.delay = make(map[string]time.Duration)
	}
	f(next)
	n.rules.Store(next)
	close(old.changed)
}

// noFaults tells that no fault is set, so that the proxies need not know which processes a connection joins.
func (r *rules) noFaults() bool { return len(r.cut) == 0 && len(r.delay) == 0 }

func (r *rules) delayOn(l link) time.Duration { return r.delay[l.a] + r.delay[l.b] }

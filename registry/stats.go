package registry

import "maps"

// Loss is why a registration was lost, in a word.
type Loss string

const (
	LossLease   Loss = "lease"   // its lease ended
	LossDeleted Loss = "deleted" // its key was deleted: by another client, or with a lease that was revoked
	LossTaken   Loss = "taken"   // another process wrote its key
)

// lossCause is a Loss with its text for State and the log, which people read.
type lossCause struct {
	kind Loss
	text string
}

var (
	leaseEnded = lossCause{LossLease, "its lease ended"}
	keyDeleted = lossCause{LossDeleted, "its key was deleted"}
	keyTaken   = lossCause{LossTaken, "its key was taken by another process"}
	keyChanged = lossCause{LossTaken, "its key was changed by another process"}
)

// Stats counts registrations: all of a Registrar, or one.
type Stats struct {
	// Registrations are those that are not withdrawn.
	Registrations map[Group]int
	// Lost counts losses of registrations by their cause. After each one the registration was made again, or
	// is still tried.
	Lost map[Loss]uint64
}

// Group is registrations that are alike.
type Group struct {
	Service    string
	Status     Status // as in State
	Registered bool   // as in State
}

// Stats counts the Registrar's registrations. Lost includes those that were withdrawn since. It asks
// nothing of etcd.
func (r *Registrar) Stats() Stats {
	t := r.table
	t.mu.Lock()
	defer t.mu.Unlock()
	s := Stats{Registrations: make(map[Group]int), Lost: maps.Clone(t.losses)}
	for _, e := range t.entries {
		s.add(e, t.etcd.Err() == nil)
	}
	return s
}

// Stats counts this registration: Registrations is empty once it is withdrawn. It asks nothing of etcd.
func (g *Registration) Stats() Stats {
	t := g.registrar.table
	t.mu.Lock()
	defer t.mu.Unlock()
	s := Stats{Registrations: make(map[Group]int), Lost: maps.Clone(g.entry.losses)}
	s.add(g.entry, t.etcd.Err() == nil)
	return s
}

// add counts an entry, unless it is withdrawn. table.mu is held.
func (s *Stats) add(e *entry, open bool) {
	if !e.withdrawing {
		s.Registrations[Group{e.instance.Service, e.status(), open && e.written && e.lease.Err() == nil}]++
	}
}

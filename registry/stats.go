package registry

import (
	"maps"
	"strings"
)

// Loss is why a registration was lost, in a word.
type Loss string

const (
	LossLease   Loss = "lease"   // its lease ended
	LossDeleted Loss = "deleted" // its key was deleted: by another client, or with a lease that was revoked
	LossTaken   Loss = "taken"   // another process wrote its key
)

// The same for people, as State and the log say it.
const (
	leaseEnded = "its lease ended"
	keyDeleted = "its key was deleted"
	keyTaken   = "its key was taken by another process"
	keyChanged = "its key was changed by another process"

	clientClosed = "the etcd client was closed"
)

func lossOf(reason string) Loss {
	switch {
	case strings.HasPrefix(reason, leaseEnded):
		return LossLease
	case reason == keyDeleted:
		return LossDeleted
	}
	return LossTaken
}

// Stats counts registrations: all of a Registrar, or one.
type Stats struct {
	// Registrations are those that are not withdrawn.
	Registrations map[Group]int
	// Lost is how often a registration was lost, by what; each was made anew, or is tried.
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
	r.mu.Lock()
	defer r.mu.Unlock()
	s := Stats{Registrations: make(map[Group]int), Lost: maps.Clone(r.losses)}
	for _, e := range r.entries {
		r.count(e, &s)
	}
	return s
}

// Stats counts this registration: Registrations is empty once it is withdrawn. It asks nothing of etcd.
func (g *Registration) Stats() Stats {
	r, e := g.registrar, g.entry
	r.mu.Lock()
	defer r.mu.Unlock()
	s := Stats{Registrations: make(map[Group]int), Lost: maps.Clone(e.losses)}
	r.count(e, &s)
	return s
}

// count adds an entry, unless it is withdrawn. r.mu is held.
func (r *Registrar) count(e *entry, s *Stats) {
	if !e.leaving {
		there := e.written && e.lease.Err() == nil && r.etcd.Err() == nil
		s.Registrations[Group{e.instance.Service, e.status(), there}]++
	}
}

package metrics

import (
	"math"
	"strconv"
	"sync"
	"time"
	"weak"

	"github.com/etcdkit/etcdkit/discovery"
	"github.com/etcdkit/etcdkit/discovery/httptransport"
	"github.com/etcdkit/etcdkit/election"
	"github.com/etcdkit/etcdkit/lease"
	"github.com/etcdkit/etcdkit/lock"
	"github.com/etcdkit/etcdkit/mirror"
	"github.com/etcdkit/etcdkit/registry"
)

// Keeper adds a Keeper's leases until remove is called. name is the value of their label; a Keeper that
// was added before with the same name is replaced.
func (m *Metrics) Keeper(name string, k *lease.Keeper) (remove func()) {
	return m.add("keeper", name, func(s *scrape, name string) {
		stats := k.Stats()
		s.gauge(leases, float64(len(stats.Leases)), name)
		keys, least := 0, time.Duration(math.MaxInt64)
		for _, l := range stats.Leases {
			keys, least = keys+l.Keys, min(least, l.Remaining)
		}
		s.gauge(leaseKeys, float64(keys), name)
		if len(stats.Leases) > 0 {
			s.gauge(leaseRemaining, least.Seconds(), name)
		}
		s.count(leasesGranted, stats.Granted, name)
		s.count(keepAlives, stats.KeepAlives, name)
		s.count(keepRetries, stats.Retries, name)
		s.count(leasesEnded, stats.Expired, name, "expired")
		s.count(leasesEnded, stats.Revoked, name, "revoked")
		s.count(leasesEnded, stats.Unreachable, name, "unreachable")
		s.count(leasesEnded, stats.Unauthorised, name, "unauthorised")
		s.count(leasesEnded, stats.Closed, name, "closed")
	})
}

// Mirror adds a Mirror until remove is called. name is the value of its label; a Mirror that was added
// before with the same name is replaced.
func (m *Metrics) Mirror(name string, of *mirror.Mirror) (remove func()) {
	return m.add("mirror", name, func(s *scrape, name string) {
		state, stats := of.State(), of.Stats()
		s.gauge(mirrorKeys, float64(state.Keys), name)
		s.gauge(mirrorStale, staleness(state.Fresh, state.Since), name)
		s.count(mirrorTransactions, stats.Transactions, name)
		s.count(mirrorEvents, stats.Events, name)
		s.count(mirrorWatches, stats.Watches, name)
		s.rereads(mirrorRereads, stats.Rereads, name)
	})
}

// statuses are the statuses of instances; any other value in etcd counts as "other".
var statuses = []registry.Status{
	registry.Passing, registry.Warning, registry.Critical, registry.Draining, registry.Maintenance, discovery.Expired,
}

// View adds a service's list until remove is called. A View of the same service that was added before
// is replaced.
func (m *Metrics) View(v *discovery.View) (remove func()) {
	return m.add("view", v.Service(), func(s *scrape, service string) {
		list := v.Instances()
		by, other := make(map[registry.Status]int), len(list)
		for _, i := range list {
			by[i.Status]++
		}
		by[registry.Passing] += by[""]
		for _, status := range statuses {
			s.gauge(instances, float64(by[status]), service, string(status))
			other -= by[status]
		}
		if other > 0 {
			s.gauge(instances, float64(other), service, "other")
		}
		state := v.State()
		s.gauge(viewStale, staleness(state.Fresh, state.Since), service)
		s.gauge(viewBad, float64(len(state.Bad)), service)
		stats := v.Stats()
		s.count(viewPicks, stats.Picks, service)
		s.count(viewFailures, stats.Failures, service)
		s.rereads(viewRereads, stats.Rereads, service)
	})
}

// Lock is a *lock.Mutex, *lock.RWMutex or *lock.Semaphore.
type Lock interface{ Stats() lock.Stats }

// lossReasons are why holds and terms are lost.
var lossReasons = []lock.Loss{
	lock.LossExpired, lock.LossRevoked, lock.LossUnreachable, lock.LossUnauthorised, lock.LossDeleted, lock.LossClosed,
}

// Lock adds a lock until remove is called. name is the value of its label, such as the lock's name; a
// lock that was added before with the same name is replaced.
func (m *Metrics) Lock(name string, l Lock) (remove func()) {
	return m.add("lock", name, func(s *scrape, name string) {
		stats := l.Stats()
		s.gauge(locksHeld, float64(stats.Held), name)
		s.gauge(locksWaiting, float64(stats.Waiting), name)
		s.count(lockRefused, stats.Refused, name)
		s.histogram(lockWait, stats.WaitTime, name)
		s.histogram(lockHold, stats.HoldTime, name)
		for _, reason := range lossReasons {
			s.count(locksLost, stats.Lost[reason], name, string(reason))
		}
	})
}

// Election adds an Election until remove is called. name is the value of its label; an Election that was
// added before with the same name is replaced.
func (m *Metrics) Election(name string, e *election.Election) (remove func()) {
	return m.add("election", name, func(s *scrape, name string) {
		stats := e.Stats()
		s.gauge(electionsLed, float64(stats.Leading), name)
		s.gauge(electionsWaiting, float64(stats.Waiting), name)
		s.histogram(electionWait, stats.WaitTime, name)
		s.histogram(electionTerm, stats.TermTime, name)
		for _, reason := range lossReasons {
			s.count(electionTermsLost, stats.Lost[reason], name, string(reason))
		}
	})
}

// HTTP adds a Transport's requests until remove is called. name is the value of its label; a Transport
// that was added before with the same name is replaced. It does not add the Transport's Views: add
// those that httptransport.Transport.View returns, one for each service.
func (m *Metrics) HTTP(name string, t *httptransport.Transport) (remove func()) {
	return m.add("http", name, func(s *scrape, name string) {
		stats := t.Stats()
		s.count(httpRequests, stats.Requests, name)
		s.count(httpRetries, stats.Retries, name)
	})
}

// Registrar adds a registrar's instances until remove is called. All registrars and registrations are
// added up in the same metrics, as a process can have many.
func (m *Metrics) Registrar(r *registry.Registrar) (remove func()) {
	return m.addRegistrations(r, weak.Make(r))
}

// Registration adds one instance, which registry.Register returned, to the same metrics until remove is
// called. Do not add instances of a Registrar that was added: they would count twice.
func (m *Metrics) Registration(g *registry.Registration) (remove func()) {
	return m.addRegistrations(g, weak.Make(g))
}

// source is a *registry.Registrar or a *registry.Registration.
type source interface{ Stats() registry.Stats }

func (m *Metrics) addRegistrations(of source, weakly any) (remove func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.registrations[of] = true
	delete(m.past, weakly) // its Stats have them
	return sync.OnceFunc(func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if !m.registrations[of] {
			return
		}
		delete(m.registrations, of)
		if lost := of.Stats().Lost; len(lost) > 0 {
			m.past[weakly] = lost
		}
	})
}

func (m *Metrics) collectRegistrations(s *scrape) {
	m.mu.Lock()
	groups, lost := make(map[registry.Group]int), make(map[registry.Loss]uint64)
	for _, past := range m.past {
		for loss, n := range past {
			lost[loss] += n
		}
	}
	for of := range m.registrations {
		stats := of.Stats()
		for g, n := range stats.Registrations {
			groups[g] += n
		}
		for loss, n := range stats.Lost {
			lost[loss] += n
		}
	}
	m.mu.Unlock()
	for g, n := range groups {
		s.gauge(registrations, float64(n), g.Service, string(g.Status), strconv.FormatBool(g.Registered))
	}
	for _, loss := range []registry.Loss{registry.LossLease, registry.LossDeleted, registry.LossTaken} {
		s.count(registrationsLost, lost[loss], string(loss))
	}
}

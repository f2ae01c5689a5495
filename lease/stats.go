package lease

import (
	"errors"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Stats is what a Keeper knows at one moment.
type Stats struct {
	Leases []State // those that live, the oldest first
	// GrantErr is why the grant under way has not succeeded yet; nil when none is under way, or
	// no try of it has failed.
	GrantErr error

	Granted    uint64 // leases
	KeepAlives uint64 // answered
	Retries    uint64 // tries of a keepalive that failed or were silent, so that another followed

	// Leases that ended, by reason.
	Expired, Revoked, Unreachable, Unauthorised, Closed uint64
}

// State is what is known of a live lease.
type State struct {
	ID             clientv3.LeaseID
	TTL            time.Duration // as etcd granted it
	Remaining      time.Duration // until the deadline
	SinceConfirmed time.Duration // how long ago the last answered keepalive, or the grant, was sent
	LastErr        error         // why the latest try failed, if none was answered since
	Keys           int           // reserved
}

type counters struct {
	granted, keepAlives, retries atomic.Uint64
	lost                         [5]atomic.Uint64 // by reasons
}

var reasons = [...]error{ErrExpired, ErrRevoked, ErrUnreachable, ErrUnauthorised, ErrClosed}

// end counts a lease that ended.
func (c *counters) end(err error) {
	for i, reason := range reasons {
		if errors.Is(err, reason) {
			c.lost[i].Add(1)
		}
	}
}

// report logs that a lease ended.
func (k *Keeper) report(l *Lease) {
	if errors.Is(l.err, ErrClosed) {
		k.log.Info("lease closed", "lease", l.hex())
		return
	}
	k.log.Error("lease lost", "lease", l.hex(), "cause", l.err.Error())
}

// Stats returns the Keeper's leases and counters.
func (k *Keeper) Stats() Stats {
	s := Stats{
		Granted:      k.counts.granted.Load(),
		KeepAlives:   k.counts.keepAlives.Load(),
		Retries:      k.counts.retries.Load(),
		Expired:      k.counts.lost[0].Load(),
		Revoked:      k.counts.lost[1].Load(),
		Unreachable:  k.counts.lost[2].Load(),
		Unauthorised: k.counts.lost[3].Load(),
		Closed:       k.counts.lost[4].Load(),
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.granting != nil {
		s.GrantErr = k.granting.lastCause()
	}
	for _, l := range k.leases {
		if left := l.Remaining(); left > 0 {
			s.Leases = append(s.Leases, l.state(left))
		}
	}
	return s
}

// state is called with keeper.mu held.
func (l *Lease) state(left time.Duration) State {
	l.mu.Lock()
	defer l.mu.Unlock()
	return State{
		ID:             l.id,
		TTL:            l.granted(),
		Remaining:      left,
		SinceConfirmed: l.keeper.clock() - time.Duration(l.confirmed.Load()),
		LastErr:        l.cause,
		Keys:           l.reserved,
	}
}

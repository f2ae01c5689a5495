package discovery

import (
	"fmt"
	"strconv"

	"github.com/etcdkit/etcdkit/registry"
)

// Expired is the status of an instance that is registered no longer, and kept. It stands in
// lists only, never in etcd.
//
// When more than half of a service's serving instances vanish without having said draining, three or
// more of them within half a minute, or two within five seconds, it is less likely that they are dead
// than that etcd had a bad minute, in which no lease could be renewed. So they stay, for
// Options.KeepExpired and with this status, until they are registered again or another one is at
// their address, and Pick continues to choose them: see Report for those that are dead. Only what
// package registry has registered is kept: raw values and records of other libraries cannot say
// draining.
const Expired registry.Status = "expired"

// Instance is an instance as a View lists it: what is registered, and how this process fares
// with it.
type Instance struct {
	registry.Instance
	// Created is the revision at which etcd created the instance's key. It changes when the
	// instance is registered anew. It is 0 for an instance that is Expired or was read from
	// Options.Dir.
	Created int64

	load   *load
	weight int64
}

func newInstance(i registry.Instance, l *load) *Instance {
	return &Instance{Instance: i, load: l, weight: int64(max(1, i.Weight))}
}

// registeredAnew reports whether i and old are two registrations: perhaps of two processes.
func (i *Instance) registeredAnew(old *Instance) bool {
	return i.Created != old.Created || i.PID != old.PID || i.Host != old.Host
}

// TakesRequests reports whether requests may be sent to the instance: it is passing, or warning, or
// Expired. Pick chooses others only when the service has no such instance.
func (i *Instance) TakesRequests() bool { return i.Status.Serving() || i.Status == Expired }

// String names the instance for people.
func (i *Instance) String() string {
	where := i.Addr
	if i.Raw != "" {
		where = strconv.Quote(i.Raw)
	}
	return fmt.Sprintf("%s/%s at %s, %s", i.Service, i.ID, where, i.Status)
}

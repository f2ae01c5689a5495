package discovery

import (
	"fmt"
	"strconv"

	"github.com/etcdkit/etcdkit/registry"
)

// Expired is the status of an instance that is no longer registered, but kept in the list. Lists have
// this status, etcd never has it.
//
// When more than half of a service's serving instances vanish and have not said draining, three or
// more of them within half a minute, or two within five seconds, it is more likely that etcd could not
// renew leases for a while than that they are dead. So they stay listed for Options.KeepExpired, until
// they are registered again or another instance has their address. Pick continues to choose them: see
// Report for those that are dead. Only instances that package registry has registered are kept: raw
// values and records of other libraries cannot say draining.
const Expired registry.Status = "expired"

// Instance is an instance as a View lists it: what is registered, and what this process has found out
// about it.
type Instance struct {
	registry.Instance
	// Created is the revision at which etcd created the instance's key. It changes when the
	// instance is registered again. It is 0 for an instance that is Expired or was read from
	// Options.Dir.
	Created int64

	usage  *usage
	weight int64
}

func newInstance(i registry.Instance, created int64, u *usage) *Instance {
	return &Instance{Instance: i, Created: created, usage: u, weight: int64(max(1, i.Weight))}
}

// registeredAgain reports whether i and old are two registrations, perhaps of two processes.
func (i *Instance) registeredAgain(old *Instance) bool {
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

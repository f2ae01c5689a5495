package doctor

import (
	"fmt"
	"time"
)

const (
	// longMinimum is a minimum TTL that people notice: with etcd's defaults it is 2 s.
	longMinimum = 5 * time.Second
	// manyLeases: etcd revokes expired ones at about 1,000 a second, so that more than this take long to go after an outage.
	manyLeases = 10_000
)

// leaseMinimum: how short may a TTL be?
func (e *examination) leaseMinimum() []Finding {
	least := e.leases.minimum
	switch {
	case least == 0:
		return nil // e.unmeasured says so
	case least > longMinimum:
		return []Finding{{
			ID: "lease-minimum", Severity: Warning, What: fmt.Sprintf("no lease lives shorter than %v: a TTL of %ds became %v", least, shortestTTL, least),
			Why: "etcd raises each TTL to 1.5 times the election timeout; what a crashed holder leaves behind stays as long as that",
			Do:  "use TTLs from " + least.String() + " on, so that programs know the real one; or lower --election-timeout to ten times the round trip between members",
		}}
	}
	return []Finding{{ID: "lease-minimum", Severity: OK, What: fmt.Sprintf("shortest TTL of a lease: %v, which is 1.5 × the election timeout; less is raised to it", least)}}
}

// leaseCount: are there many?
func (e *examination) leaseCount() []Finding {
	switch n := e.leases.leases; {
	case n < 0:
		if e.leases.problem != "" {
			return nil
		}
		return []Finding{{ID: "lease-count", Severity: Info, What: "the leases could not be counted: " + e.leases.leasesProblem,
			Why: "etcd lists leases only for a user who may read all keys that are attached to one", Do: "give a user with the role root"}}
	case n > manyLeases:
		return []Finding{{
			ID: "lease-count", Severity: Warning, What: fmt.Sprintf("there are %d leases", n),
			Why: "each is renewed by itself, and when many expire at once, as after an outage, they go at about 1,000 a second",
			Do:  "let one process share one lease among its keys",
		}}
	default:
		return []Finding{{ID: "lease-count", Severity: OK, What: fmt.Sprintf("leases: %d at this moment", n)}}
	}
}

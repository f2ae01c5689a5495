//go:build !long

package lock_test

import "time"

// A short form of the faults as FAULTS has them.
var (
	ttls   = []time.Duration{2 * time.Second}
	pauses = []float64{1.5} // × TTL
)

// memberKills is how often a member of etcd is killed amid Commits.
const memberKills = 3

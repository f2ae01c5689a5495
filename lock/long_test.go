//go:build long

package lock_test

import "time"

// The faults as FAULTS has them.
var (
	ttls   = []time.Duration{2 * time.Second, 5 * time.Second, 10 * time.Second}
	pauses = []float64{1.5, 3, 5} // × TTL
)

// memberKills is how often a member of etcd is killed amid Commits.
const memberKills = 15

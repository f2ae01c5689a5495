//go:build long

package election_test

import "time"

// killFor is how long etcd's leaders are killed: fault 9 as it is written.
const killFor = 60 * time.Second

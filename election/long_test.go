//go:build long

package election_test

import "time"

// killFor is how long etcd's leaders are killed.
const killFor = 60 * time.Second

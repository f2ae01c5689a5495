//go:build !long

package mirror_test

import "time"

// sleeperEvents pass while a consumer sleeps; with the tag long, for a minute.
const sleeperEvents = 10_000

// catchUpKeys are in one revision, and catchUpBacklog revisions are missed. With the tag long the
// bound is in reads of the prefix; here the reads are too short to be a measure.
const (
	catchUpKeys    = 20_000
	catchUpBacklog = 5_000
	catchUpLeast   = 3 * time.Second
)

//go:build !long

package matrix_test

import "time"

// With the tag long these take their time.
const (
	silent60sFor = 2 * time.Second // less than a third of the TTL: nothing is renewed meanwhile
	silent5mFor  = 2 * time.Second
	crowdSize    = 50
	churnTimes   = 20
)

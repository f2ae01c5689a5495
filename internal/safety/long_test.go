//go:build long

package safety_test

import "time"

// How long faults go on, and what a run must have seen at least to count.
const (
	faultTime = 60 * time.Second
	fewest    = 20 // acknowledged operations of each kind, on each subject
)

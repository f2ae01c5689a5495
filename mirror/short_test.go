//go:build !long

package mirror_test

// sleeperEvents pass while the consumer of fault 20 sleeps; with the tag long, for a minute.
const sleeperEvents = 10_000

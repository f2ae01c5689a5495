//go:build long

package mirror_test

// sleeperEvents pass while the consumer of fault 20 sleeps, at 1,000 a second.
const sleeperEvents = 60_000

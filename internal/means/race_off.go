//go:build !race

package means

// Race: the race detector is on.
const Race = false

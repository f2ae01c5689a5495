//go:build race

package means

// Race: the race detector is on. It makes everything slower, so that times say nothing, and has a limit on goroutines.
const Race = true

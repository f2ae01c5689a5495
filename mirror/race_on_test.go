//go:build race

package mirror_test

// raceEnabled: the detector is on. It has a limit on goroutines, and bounds of time do not hold.
const raceEnabled = true

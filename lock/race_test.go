//go:build race

package lock_test

// race tells whether the race detector slows the tests down.
const race = true

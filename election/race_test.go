//go:build race

package election_test

// race: the detector makes everything slower, so that times are not looked at.
const race = true

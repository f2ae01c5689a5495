//go:build race

package matrix_test

// underRace: the race detector makes everything slower, so promised times are not asserted there.
const underRace = true

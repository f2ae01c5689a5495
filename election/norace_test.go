//go:build !race

package election_test

const race = false

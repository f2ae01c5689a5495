//go:build race

package registry_test

const race = true

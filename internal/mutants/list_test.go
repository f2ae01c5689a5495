package mutants_test

import "slices"

// mutant is something wrong in a source file, and the test that must find it.
type mutant struct {
	name string
	file string
	edit []string // old, new, old, new, …
	pkg  string   // of the test
	test string
}

// mutants are those that must be caught: a file for each package whose source they break.
var mutants = slices.Concat(
	leaseMutants,
	queueMutants,
	lockMutants,
	electionMutants,
	mirrorMutants,
	registryMutants,
	discoveryMutants,
	balanceMutants,
	clusterMutants,
)

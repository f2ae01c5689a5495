// Package mutants is a test of the tests: it breaks a guarantee in one place of the source, and demands
// that the test which stands for the guarantee fails; without the mutation it must pass.
//
// A mutant is a replacement in one file, of a text that must be there exactly once. With the text the
// mutant changes, or goes when it has no use any more; a plain "go test" checks that each text is there. The source
// itself is not touched; the go command gets the mutated copy with -overlay. "make mutants" runs all of them,
// several at a time, in some 15 minutes.
package mutants

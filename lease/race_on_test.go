//go:build race

package lease_test

const racing = true // under the detector times say nothing

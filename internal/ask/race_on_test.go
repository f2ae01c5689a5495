//go:build race

package ask_test

const racing = true // under the detector times say nothing

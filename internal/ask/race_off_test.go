//go:build !race

package ask_test

const racing = false

package registry

import "time"

// VerifyEvery sets how often keys are read that had no event.
func VerifyEvery(opts *Options, d time.Duration) *Options {
	opts.verifyEvery = d
	return opts
}

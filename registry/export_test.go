package registry

import "time"

// LookEvery sets how often keys are looked at that nothing was heard of.
func LookEvery(opts *Options, d time.Duration) *Options {
	opts.lookEvery = d
	return opts
}

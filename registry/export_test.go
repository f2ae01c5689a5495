package registry

import "time"

// LookEvery sets how often keys are read that had no event.
func LookEvery(opts *Options, d time.Duration) *Options {
	opts.lookEvery = d
	return opts
}

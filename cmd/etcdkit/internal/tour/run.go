package tour

import (
	"context"
	"errors"
	"time"
)

// Run takes the lessons one after the other, on a cluster that has none of the keys that they write. It leaves
// none, also when ctx ends it. The error is one of the tour; what a lesson found is in the report.
func Run(ctx context.Context, opts *Options, lessons []*Lesson, tell func(Event)) (r *Report, err error) {
	begin := time.Now()
	r = &Report{Cluster: opts.Place.String()}
	if opts.Place.Own == nil {
		if err := untouched(ctx, opts.Place.Client, lessons); err != nil {
			return nil, err
		}
	}
	defer func() { err = errors.Join(err, tidy(ctx, opts.Place.Client)) }()
	for _, l := range lessons {
		if ctx.Err() != nil {
			return r, ctx.Err()
		}
		s := newStage(opts, l, tell)
		r.Steps = append(r.Steps, s.result)
		if l.Breaks != "" && opts.Place.Own == nil {
			s.skip(l.Breaks)
			continue
		}
		if len(l.Programs) > 0 {
			if err := opts.Programs.wait(ctx, s); err != nil {
				return r, err
			}
		}
		s.run(ctx)
	}
	if ctx.Err() != nil {
		return r, ctx.Err()
	}
	_, failed := r.Checks()
	r.OK, r.Took = failed == 0, since(begin)
	return r, nil
}

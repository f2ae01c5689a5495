package services

import (
	"context"
	"time"

	"github.com/etcdkit/etcdkit/bench/lab"
	"github.com/etcdkit/etcdkit/bench/report"
	"github.com/etcdkit/etcdkit/bench/suite"
)

// defaultTTL is the default of etcdkit, go-zero and go-kit; naming's user chooses.
const defaultTTL = 10 * time.Second

// job is what a row works with.
type job struct {
	lab      *lab.Lab
	progress *report.Progress
	quick    bool
}

// either is the figure of a full run, or of a quick one.
func (j *job) either(full, quick int) int {
	if j.quick {
		return quick
	}
	return full
}

// of is a row with one table.
func of(measure func(*job, context.Context) (*report.Group, error)) func(context.Context, *suite.Bench) ([]*report.Group, error) {
	return func(ctx context.Context, b *suite.Bench) ([]*report.Group, error) {
		g, err := measure(&job{lab: b.Lab, progress: b.Progress, quick: b.Quick}, ctx)
		return []*report.Group{g}, err
	}
}

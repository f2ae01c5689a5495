package services

import (
	"context"
	"time"

	"github.com/etcdkit/etcdkit/bench/report"
	"github.com/etcdkit/etcdkit/bench/suite"
)

// defaultTTL is the default of etcdkit, go-zero and go-kit; naming's user chooses.
const defaultTTL = 10 * time.Second

// job is what a row works with.
type job struct{ *suite.Bench }

// of is a row with one table.
func of(measure func(*job, context.Context) (*report.Group, error)) func(context.Context, *suite.Bench) ([]*report.Group, error) {
	return func(ctx context.Context, b *suite.Bench) ([]*report.Group, error) {
		g, err := measure(&job{b}, ctx)
		return []*report.Group{g}, err
	}
}

package docs

import (
	"context"

	"github.com/etcdkit/etcdkit/election"
)

var (
	e    *election.Election
	addr string
)

func schedule(context.Context, int64) error { return nil }

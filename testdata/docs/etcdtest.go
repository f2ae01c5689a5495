package docs

import (
	"testing"

	"github.com/etcdkit/etcdkit/cluster"
)

var (
	t *testing.T
	c *cluster.Cluster
)

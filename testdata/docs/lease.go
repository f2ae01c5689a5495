package docs

import "github.com/etcdkit/etcdkit/lease"

var k *lease.Keeper

package docs

import (
	"context"

	clientv3 "go.etcd.io/etcd/client/v3"
)

var (
	ctx context.Context
	cli *clientv3.Client
)

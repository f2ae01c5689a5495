package docs

import (
	"context"
	"net/http"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc"

	"github.com/etcdkit/etcdkit/lease"
)

var (
	addr   string
	creds  grpc.DialOption
	keeper *lease.Keeper
	server *http.Server
)

func increment([]*mvccpb.KeyValue) string { return "" }

func schedule(context.Context, int64) error { return nil }

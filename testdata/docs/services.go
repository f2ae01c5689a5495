package docs

import (
	"database/sql"
	"net/http"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/etcdkit/etcdkit/discovery"
	"github.com/etcdkit/etcdkit/discovery/httptransport"
	"github.com/etcdkit/etcdkit/election"
	"github.com/etcdkit/etcdkit/lease"
	"github.com/etcdkit/etcdkit/lock"
	"github.com/etcdkit/etcdkit/registry"
)

var (
	creds      credentials.TransportCredentials
	db         *sql.DB
	e          *election.Election
	grpcServer *grpc.Server
	keeper     *lease.Keeper
	mutex      *lock.Mutex
	reg        *registry.Registration
	server     *http.Server
	transport  *httptransport.Transport
	view       *discovery.View
)

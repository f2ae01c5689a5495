//go:build etcdkit_client

package cluster

import (
	"context"
	"errors"
	"io"
)

// The tag etcdkit_client leaves etcd's server out of a program that only talks to clusters: its packages are half
// of the program, and take longer to initialise than most commands take.

// errNoServer is why no member starts.
var errNoServer = errors.New("this program was built without etcd's server (tag etcdkit_client): it runs no members")

type server struct{}

func startServer(spec, io.Writer, func(), <-chan struct{}) (*server, error) { return nil, errNoServer }

func (*server) watch(<-chan struct{}, func(report)) {}

func (*server) move(context.Context, uint64) error { return errNoServer }

func (*server) close(bool) {}

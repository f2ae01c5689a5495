// Command etcdkit is a tour of etcdkit, and local etcd clusters to develop on and to break; etcdkit --help lists
// what it does.
package main

import (
	"context"
	"os"
	"os/signal"

	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/child"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/cli"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/out"
)

func main() {
	cluster.RunMember() // becomes a member, in a process that was started to be one
	runUpstream()       // becomes etcd or etcdctl, where it was called so

	ctx, stop := signal.NotifyContext(context.Background(), child.TerminationSignals()...)
	ctx, end := context.WithCancelCause(ctx)
	code := cli.Run(ctx, os.Args[1:], os.Stdin, out.StopOnBrokenPipe(end), os.Stderr)
	end(nil)
	stop()
	os.Exit(code)
}

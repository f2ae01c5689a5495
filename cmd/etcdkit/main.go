// Command etcdkit is coordination on etcd from the shell; etcdkit --help lists what it does.
package main

import (
	"context"
	"os"
	"os/signal"

	"github.com/etcdkit/etcdkit/cluster"
)

func main() {
	cluster.RunMember() // becomes a member, in a process that was started to be one
	runUpstream()       // becomes etcd or etcdctl, where it was called so

	ctx, stop := signal.NotifyContext(context.Background(), endingSignals()...)
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

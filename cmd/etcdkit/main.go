// Command etcdkit is coordination on etcd from a shell: it runs commands under locks, as leaders and as services, shows
// and changes keys, leases and the state of a cluster, and starts clusters to develop on. etcdkit --help lists what it
// does.
package main

import (
	"context"
	"os"
	"os/signal"
	"time"

	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/child"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/cli"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/out"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/quickstart"
)

func main() {
	child.RunSupervisor()                          // becomes the supervisor of a command, in a process that was started to be one
	time.AfterFunc(time.Second, quickstart.Settle) // a process that goes on until then is not one of a moment
	cluster.RunMember()                            // becomes a member, in a process that was started to be one
	runUpstream()                                  // becomes etcd or etcdctl, where it was called so

	ctx, stop := signal.NotifyContext(context.Background(), child.TerminationSignals()...)
	ctx, end := context.WithCancelCause(ctx)
	code := cli.Run(ctx, os.Args[1:], os.Stdin, out.StopOnBrokenPipe(end), os.Stderr)
	end(nil)
	stop()
	os.Exit(code)
}

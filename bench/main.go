package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/etcdkit/etcdkit/bench/locks"
	"github.com/etcdkit/etcdkit/bench/services"
	"github.com/etcdkit/etcdkit/cluster"
)

func main() {
	cluster.RunMember() // becomes a member, in a process that was started to be one

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second one ends it at once
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

const usage = `bench compares etcdkit with its peers, on a local cluster of three processes.

Usage:
  bench services [flags]    registry and discovery, compared with go-zero, go-kit and etcd's naming
  bench locks [flags]       the lock, compared with clientv3's Mutex and STM, redsync and ZooKeeper's

See 'bench services -help' and 'bench locks -help'.
`

// run dispatches: each job is a package. It returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	name := ""
	if len(args) > 0 {
		name = args[0]
	}
	switch name {
	case "services":
		return services.Run(ctx, args[1:], stdout, stderr)
	case "locks":
		return locks.Run(ctx, args[1:], stdout, stderr)
	case "help", "-h", "-help", "--help":
		fmt.Fprint(stdout, usage)
		return 0
	case "":
		fmt.Fprintf(stderr, "bench: name a job\n\n%s", usage)
	default:
		fmt.Fprintf(stderr, "bench: unknown job %q\n\n%s", name, usage)
	}
	return 2
}

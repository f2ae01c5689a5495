// Command etcdkit is coordination on etcd from the shell; etcdkit --help lists what it does.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/etcdkit/etcdkit/cluster"
)

func main() {
	cluster.RunMember() // becomes a member, in a process that was started to be one
	runUpstream()       // becomes etcd or etcdctl, where it was called so

	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2) // none may get lost
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() { // lives as long as the process
		<-signals
		cancel()
		<-signals
		<-time.After(forceGrace)
		os.Exit(exitInterrupted)
	}()
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

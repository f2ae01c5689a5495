// Command etcdkit is coordination on etcd from the shell; etcdkit --help lists what it does.
package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/mattn/go-isatty"

	"github.com/etcdkit/etcdkit/cluster"
)

func main() {
	cluster.RunMember() // becomes a member, in a process that was started to be one
	runUpstream()       // becomes etcd or etcdctl, where it was called so

	ctx, stop := signal.NotifyContext(context.Background(), endingSignals()...)
	ctx, end := context.WithCancel(ctx)
	code := run(ctx, os.Args[1:], os.Stdin, heeded(end), os.Stderr)
	end()
	stop()
	os.Exit(code)
}

// heeded is the standard output. Who reads it and goes away, as head does, wants no more of it: then
// it calls end, as Ctrl-C would.
func heeded(end func()) io.Writer {
	if isatty.IsTerminal(os.Stdout.Fd()) {
		return os.Stdout
	}
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) // or it would be this program's end, untidied
	return &heededOutput{end}
}

type heededOutput struct{ end func() }

func (o *heededOutput) Write(b []byte) (int, error) {
	n, err := os.Stdout.Write(b)
	if errors.Is(err, syscall.EPIPE) {
		o.end()
	}
	return n, err
}

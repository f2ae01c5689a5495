// Command etcdkit is coordination on etcd from the shell; etcdkit --help lists what it does.
package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"

	"github.com/mattn/go-isatty"

	"github.com/etcdkit/etcdkit/cluster"
)

func main() {
	cluster.RunMember() // becomes a member, in a process that was started to be one
	runUpstream()       // becomes etcd or etcdctl, where it was called so

	ctx, stop := signal.NotifyContext(context.Background(), endingSignals()...)
	ctx, end := context.WithCancel(ctx)
	var unread atomic.Bool
	code := run(ctx, os.Args[1:], os.Stdin, heeded(func() { unread.Store(true); end() }), os.Stderr)
	if unread.Load() {
		code = exitUnread
	}
	end()
	stop()
	os.Exit(code)
}

// heeded is the standard output. A reader that goes away, as head does, wants no more of it: then
// it calls end, as Ctrl-C would.
func heeded(end func()) io.Writer {
	if isatty.IsTerminal(os.Stdout.Fd()) {
		return os.Stdout
	}
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) // or it would be this program's end, untidied
	return &heededOutput{end}
}

type heededOutput struct{ end func() }

// File is for a child, which writes to it directly.
func (o *heededOutput) File() *os.File { return os.Stdout }

func (o *heededOutput) Write(b []byte) (int, error) {
	n, err := os.Stdout.Write(b)
	if errors.Is(err, syscall.EPIPE) {
		o.end()
		err = errUnread
	}
	return n, err
}

// errUnread: nobody reads the standard output any more. There is nobody to tell it to, either.
var errUnread = errors.New("nobody reads the output")

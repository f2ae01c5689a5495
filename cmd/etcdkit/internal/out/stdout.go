package out

import (
	"errors"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// ErrUnread means that the output has no reader any more, and a message would have none either.
var ErrUnread = errors.New("the reader of the output has gone")

// StopOnBrokenPipe is the standard output. When its reader goes away, as head does, end is called with
// ErrUnread: the command then ends as it does at Ctrl-C.
func StopOnBrokenPipe(end func(error)) io.Writer {
	if terminal(os.Stdout) != nil {
		return os.Stdout
	}
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) // without this, the signal would end the program before it has cleaned up
	return &pipe{end}
}

type pipe struct{ end func(error) }

// File is for a child, which writes to it directly.
func (o *pipe) File() *os.File { return os.Stdout }

func (o *pipe) Write(b []byte) (int, error) {
	n, err := os.Stdout.Write(b)
	if errors.Is(err, syscall.EPIPE) {
		o.end(ErrUnread)
		err = ErrUnread
	}
	return n, err
}

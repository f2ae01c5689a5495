// Package input reads stdin until a context ends. A read of a terminal or a pipe cannot be ended by itself, so that
// Ctrl-C would do nothing.
//
//	all, err := io.ReadAll(input.Until(ctx, stdin))
//	password, err := input.Secret(ctx, stdin)
//
// A read that a context has ended leaves a goroutine behind, which ends with the next input or with the process.
package input

import (
	"context"
	"errors"
	"io"
	"os"

	"github.com/mattn/go-isatty"
	"golang.org/x/term"
)

// IsTerminal tells whether a person types what r reads.
func IsTerminal(r io.Reader) bool { return terminal(r) != nil }

// terminal is the terminal that a reader is, or nil.
func terminal(r io.Reader) *os.File {
	if f, ok := r.(*os.File); ok && isatty.IsTerminal(f.Fd()) {
		return f
	}
	return nil
}

// Until is r until ctx ends: a read then returns the cause. It reads no more of r than is asked for, so that another
// reader can go on.
func Until(ctx context.Context, r io.Reader) io.Reader {
	if file, ok := r.(io.Seeker); ok {
		if _, err := file.Seek(0, io.SeekCurrent); err == nil {
			return r // a file does not block
		}
	}
	return readerFunc(func(p []byte) (int, error) {
		b, err := await(ctx, func() ([]byte, error) {
			b := make([]byte, len(p)) // p is the caller's again when ctx has ended
			n, err := r.Read(b)
			return b[:n], err
		})
		return copy(p, b), err
	})
}

// await calls read, until ctx ends.
func await(ctx context.Context, read func() ([]byte, error)) ([]byte, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	type result struct {
		b   []byte
		err error
	}
	done := make(chan result, 1)
	go func() { // ends with read, or with the process where that blocks
		b, err := read()
		done <- result{b, err}
	}()
	select {
	case r := <-done:
		return r.b, r.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// ErrNoTerminal means that there is no terminal to read a secret from.
var ErrNoTerminal = errors.New("no terminal")

// Secret reads a line from a terminal that does not show what is typed, until ctx ends.
func Secret(ctx context.Context, r io.Reader) (string, error) {
	f := terminal(r)
	if f == nil {
		return "", ErrNoTerminal
	}
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	fd := int(f.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return "", err
	}
	line, err := await(ctx, func() ([]byte, error) { return term.ReadPassword(fd) })
	if ctx.Err() != nil {
		_ = term.Restore(fd, before) // the read, which would restore it, goes on
	}
	return string(line), err
}

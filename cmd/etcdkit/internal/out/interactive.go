package out

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/term"
)

// ErrNoScreen means that there is no terminal to draw on, or one that knows no control characters.
var ErrNoScreen = errors.New("there is no terminal to draw on")

// Interactive draws a picture that changes, at the size that the terminal has at that moment, and calls typed for each
// key that is typed on stdin, until typed returns false or ctx ends: then it returns nil. Ctrl-C is a key here, and no
// signal. The terminal is as it was before when Interactive returns, also by a panic. Where stdin is no terminal, or nil,
// no keys come.
//
// picture and typed are called one at a time.
func (p *Printer) Interactive(ctx context.Context, stdin io.Reader, picture func(width, height int) []string, typed func(Key) bool) error {
	f := terminal(p.stdout)
	if f == nil || !p.rewrites {
		return ErrNoScreen
	}
	var reading sync.WaitGroup
	defer reading.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	keys := make(chan Key)
	if in, ok := stdin.(*os.File); ok && terminal(in) != nil && readsKeys {
		before, err := term.MakeRaw(int(in.Fd()))
		if err != nil {
			return fmt.Errorf("read keys from the terminal: %w", err)
		}
		defer term.Restore(int(in.Fd()), before)
		reading.Go(func() { readKeys(ctx, in, keys) }) // ends with ctx
	}
	fmt.Fprint(f, enterScreen)
	defer fmt.Fprint(f, leaveScreen)
	tick := time.NewTicker(perFrame)
	defer tick.Stop()
	for {
		width, height := size(f)
		fmt.Fprint(f, frame(picture(width, height), height))
		select {
		case <-tick.C:
		case key := <-keys:
			if !typed(key) {
				return nil
			}
		case <-ctx.Done():
			return nil
		}
	}
}

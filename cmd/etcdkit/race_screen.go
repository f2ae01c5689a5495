package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"
)

// live is the race in its middle.
func (c *contest) live(width, height int) []string {
	s := c.snapshot()
	return append(s.picture(min(width, 120), height, coloured()), "", "→ "+s.now+" · Ctrl-C ends it")
}

const (
	// The other screen, which the shell's comes back from unchanged; no cursor, and lines that are too
	// long for it are cut instead of wrapped.
	enterScreen = "\033[?1049h\033[?25l\033[?7l"
	leaveScreen = "\033[?7h\033[?25h\033[?1049l"

	perFrame = 100 * time.Millisecond
)

// show draws a picture that changes, at whatever size the terminal has by then, until the returned
// function is called or ctx ends: whoever is asked to end shall be seen doing it.
func show(ctx context.Context, terminal *os.File, picture func(width, height int) []string) (end func()) {
	stop := make(chan struct{})
	var drawing sync.WaitGroup
	drawing.Go(func() { // ends with end or ctx
		fmt.Fprint(terminal, enterScreen)
		defer fmt.Fprint(terminal, leaveScreen)
		tick := time.NewTicker(perFrame)
		defer tick.Stop()
		for {
			width, height := size(terminal)
			fmt.Fprint(terminal, frame(picture(width, height), height))
			select {
			case <-tick.C:
			case <-stop:
				return
			case <-ctx.Done():
				return
			}
		}
	})
	return func() {
		close(stop)
		drawing.Wait()
	}
}

// frame replaces what is on the screen. Each line is erased before it is written: afterwards the cursor
// may stand on its last character.
func frame(lines []string, height int) string {
	f := "\033[H\033[K" + strings.Join(lines[:min(len(lines), height)], "\r\n\033[K")
	if len(lines) < height {
		f += "\r\n\033[J"
	}
	return f
}

// size is the terminal's, or a usual one's.
func size(terminal *os.File) (width, height int) {
	width, height, err := term.GetSize(int(terminal.Fd()))
	if err != nil || width < 1 || height < 1 {
		return 80, 24
	}
	return width, height
}

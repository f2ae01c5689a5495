package out

import (
	"context"
	"strings"
	"sync"
	"time"
)

const (
	// The other screen, which the shell's comes back from unchanged; no cursor, and lines that are too
	// long for it are cut instead of wrapped.
	enterScreen = "\033[?1049h\033[?25l\033[?7l"
	leaveScreen = "\033[?7h\033[?25h\033[?1049l"

	perFrame = 100 * time.Millisecond
)

// Screen draws a picture that changes, at the size that the terminal has at that moment, until the
// returned function is called or ctx ends: Ctrl-C is seen to end it at once. Elsewhere than on a
// terminal it draws nothing.
func (p *Printer) Screen(ctx context.Context, picture func(width, height int) []string) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	var drawing sync.WaitGroup
	drawing.Go(func() { _ = p.Interactive(ctx, nil, picture, nil) }) // ends with end or ctx; its error: there is no terminal
	return func() {
		cancel()
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

package out

import (
	"io"
	"os"

	"github.com/mattn/go-isatty"
	"golang.org/x/term"
)

const (
	// widest is where lines for people are wrapped on wider terminals, too.
	widest = 80

	usualWidth, usualHeight = 80, 24
)

// terminal is the terminal that a writer is, or nil.
func terminal(w io.Writer) *os.File {
	if f, ok := w.(*os.File); ok && isatty.IsTerminal(f.Fd()) {
		return f
	}
	return nil
}

// size is the terminal's, or a usual one's.
func size(terminal *os.File) (width, height int) {
	width, height, err := term.GetSize(int(terminal.Fd()))
	if err != nil || width < 1 || height < 1 {
		return usualWidth, usualHeight
	}
	return width, height
}

// dumb tells whether the terminal knows no control characters.
func dumb() bool { return os.Getenv("TERM") == "dumb" }

package report

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/mattn/go-isatty"
)

// Progress tells a person how far a run is: on a terminal in one line that is written again, else
// in plain lines, one when something else begins and one every few seconds. Its methods may be
// called from any goroutine.
type Progress struct {
	w        io.Writer
	terminal bool

	mu   sync.Mutex
	row  string
	last time.Time
}

const (
	everyOnTerminal = 100 * time.Millisecond
	everyInLines    = 5 * time.Second
	clearLine       = "\r\x1b[2K"
)

// NewProgress writes to w.
func NewProgress(w io.Writer) *Progress {
	f, ok := w.(*os.File)
	return &Progress{w: w, terminal: ok && isatty.IsTerminal(f.Fd())}
}

// Step says which library a row is at, and that it begins with the n-th of m things.
func (p *Progress) Step(row, library string, n, m int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	every := everyInLines
	if p.terminal {
		every = everyOnTerminal
	}
	if row == p.row && time.Since(p.last) < every {
		return
	}
	p.row, p.last = row, time.Now()
	line := fmt.Sprintf("%s · %s · %d of %d", row, library, n, m)
	if p.terminal {
		fmt.Fprint(p.w, clearLine+line)
	} else {
		fmt.Fprintln(p.w, line)
	}
}

// Clear takes the line back, before something else is written to the terminal.
func (p *Progress) Clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.terminal && p.row != "" {
		fmt.Fprint(p.w, clearLine)
	}
	p.row = ""
}

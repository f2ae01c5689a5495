// Package out prints: data on stdout, talk on stderr.
//
//	p := out.New(stdout, stderr)
//	p.Linef("etcd %s · %s ready", version, out.Count(3, "member"))
//	done := p.Waiting("compiling the examples") // a line that a terminal takes back
//	done()
//	err := p.JSON(result)
//
// Lines for people are wrapped at 80 columns, or at the terminal's width if that is less. Colours and
// lines that are taken back are for terminals: neither with TERM=dumb, and no colours with NO_COLOR.
package out

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// Printer prints one command's output. Its methods may be called by several goroutines at once.
type Printer struct {
	Palette Palette // of stdout

	stdout, stderr io.Writer
	width          int
	rewrites       bool // a picture on stdout may be drawn again
	lineWidth      int  // of a line on stderr that is taken back; 0: stderr is no terminal that knows how

	mu      sync.Mutex // guards stdout, stderr and pending
	pending io.Writer  // has a last line that will be taken back; nil: neither
}

// New makes a Printer that knows which of the two is a terminal.
func New(stdout, stderr io.Writer) *Printer {
	p := &Printer{stdout: stdout, stderr: stderr, width: widest}
	if f := terminal(stdout); f != nil {
		columns, _ := size(f)
		p.width = min(p.width, columns)
		p.rewrites = !dumb()
		p.Palette = palette()
	}
	if f := terminal(stderr); f != nil && !dumb() {
		p.lineWidth, _ = size(f)
	}
	return p
}

// Width is that of lines for people.
func (p *Printer) Width() int { return p.width }

// Size is that of the terminal that stdout is, or else 80 by 24.
func (p *Printer) Size() (width, height int) {
	if f := terminal(p.stdout); f != nil {
		return size(f)
	}
	return usualWidth, usualHeight
}

// Printf prints to stdout as it is.
func (p *Printer) Printf(format string, args ...any) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.takeBack()
	_, err := fmt.Fprintf(p.stdout, format, args...)
	return err
}

// Linef prints a line to stdout, and more of them if it is too long. They are indented as its
// first one is, by spaces, and hang by as many columns as hang says.
func (p *Printer) Linef(hang int, format string, args ...any) error {
	return p.Printf("%s\n", Wrap(fmt.Sprintf(format, args...), p.width, hang))
}

// Resultf prints a line to stdout that a script may read, too: only on a terminal is it wrapped.
func (p *Printer) Resultf(format string, args ...any) error {
	if terminal(p.stdout) == nil {
		return p.Printf(format+"\n", args...)
	}
	return p.Linef(2, format, args...)
}

// Talkf prints a line to stderr.
func (p *Printer) Talkf(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.takeBack()
	fmt.Fprintf(p.stderr, format+"\n", args...)
}

// Askf prints a question to stderr; the answer is typed behind it.
func (p *Printer) Askf(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.takeBack()
	fmt.Fprintf(p.stderr, format, args...)
}

// JSON prints a value to stdout, in one line.
func (p *Printer) JSON(v any) error {
	text, err := encode(v)
	if err != nil {
		return err
	}
	return p.write(append(text, '\n'))
}

// Stdout is for what copies a stream, and for a child of this process.
func (p *Printer) Stdout() io.Writer { return p.stdout }

// Stderr is for a child of this process.
func (p *Printer) Stderr() io.Writer { return p.stderr }

// Waiting shows, on a terminal, that something goes on and for how long, until the returned function
// is called.
func (p *Printer) Waiting(what string) (done func()) { return p.WaitingAfter(0, what) }

// WaitingAfter is Waiting for what is usually over by then.
func (p *Printer) WaitingAfter(after time.Duration, what string) (done func()) {
	line := p.Progress()
	if !line.Shown() {
		return func() {}
	}
	stop := make(chan struct{})
	var ticking sync.WaitGroup
	ticking.Go(func() { // ends with done
		defer line.End()
		begin := time.Now()
		tick := time.NewTicker(perFrame)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				if since := time.Since(begin); since >= after {
					line.Setf("%s %.1fs", what, since.Seconds())
				}
			case <-stop:
				return
			}
		}
	})
	return func() {
		close(stop)
		ticking.Wait()
	}
}

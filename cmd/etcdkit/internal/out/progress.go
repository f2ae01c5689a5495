package out

import (
	"fmt"
	"time"
)

// Progress is a line on stderr, where that is a terminal, which says how far something has come and is taken back. Its
// methods are for one goroutine.
type Progress struct {
	p     *Printer
	width int // 0: no terminal
	drawn time.Time
}

// Progress begins such a line. End ends it.
func (p *Printer) Progress() *Progress {
	return &Progress{p: p, width: p.lineWidth}
}

// Shown tells whether the line can be seen.
func (l *Progress) Shown() bool { return l.width > 0 }

// Setf shows another text, ten times a second at most.
func (l *Progress) Setf(format string, args ...any) {
	if l.width == 0 || time.Since(l.drawn) < perFrame {
		return
	}
	l.drawn = time.Now()
	text := Clip(fmt.Sprintf("  … "+format, args...), l.width-1) // a line that wraps cannot be taken back
	l.p.mu.Lock()
	defer l.p.mu.Unlock()
	l.p.takeBack()
	fmt.Fprint(l.p.stderr, text)
	l.p.pending = l.p.stderr
}

// End takes the line back.
func (l *Progress) End() {
	l.p.mu.Lock()
	defer l.p.mu.Unlock()
	l.p.takeBack()
}

// takeBack removes the line of Waiting or of a Progress. p.mu is held.
func (p *Printer) takeBack() {
	if p.pending != nil {
		fmt.Fprint(p.pending, "\r\033[K")
		p.pending = nil
	}
}

package out

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Count is a number and its noun: "1 member", "3 members".
func Count(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}

// Width is how many columns a text takes, without what a Palette put around it.
func Width(text string) int {
	n := 0
	for {
		plain, painted, ok := strings.Cut(text, "\033[")
		n += utf8.RuneCountInString(plain)
		if !ok {
			return n
		}
		_, text, _ = strings.Cut(painted, "m")
	}
}

// Wrap breaks each line of a text that is longer than width columns between words. What follows is
// indented as the line is, and by hang columns more. A word that is too long stays whole: it may be an
// address or a command to copy.
func Wrap(text string, width, hang int) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = wrapLine(line, width, hang)
	}
	return strings.Join(lines, "\n")
}

func wrapLine(line string, width, hang int) string {
	if Width(line) <= width {
		return line
	}
	text := strings.TrimLeft(line, " ")
	indent := len(line) - len(text)
	next := "\n" + strings.Repeat(" ", indent+hang)
	var b strings.Builder
	b.WriteString(line[:indent])
	column, begins := indent, true
	for word := range strings.SplitSeq(text, " ") { // several spaces are kept as they are
		n := Width(word)
		switch {
		case begins:
			begins = false
		case word != "" && column > indent+hang && column+1+n > width:
			wrapped := strings.TrimRight(b.String(), " ")
			b.Reset()
			b.WriteString(wrapped + next)
			column = indent + hang
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += n
	}
	return b.String()
}

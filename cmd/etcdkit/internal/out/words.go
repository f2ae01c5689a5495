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
	if utf8.RuneCountInString(line) <= width {
		return line
	}
	indent := len(line) - len(strings.TrimLeft(line, " "))
	next := "\n" + strings.Repeat(" ", indent+hang)
	var b strings.Builder
	column := 0
	for word := range strings.SplitSeq(line, " ") { // several spaces are kept as they are
		n := utf8.RuneCountInString(word)
		switch {
		case b.Len() == 0:
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

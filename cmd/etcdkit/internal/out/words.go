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

// Bytes is a size for people, in binary units as df -h has it: 20 KiB, 1.5 GiB.
func Bytes(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	size, unit := float64(n), 0
	for size >= 1024 && unit < len(units)-1 {
		size, unit = size/1024, unit+1
	}
	if unit == 0 || size >= 10 || size == float64(int64(size)) {
		return fmt.Sprintf("%.0f %s", size, units[unit])
	}
	return fmt.Sprintf("%.1f %s", size, units[unit])
}

// Width is how many columns a text takes, without what a Palette put around it.
func Width(text string) int {
	n := 0
	for {
		plain, painted, ok := strings.Cut(text, "\033[")
		n += width(plain)
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

// Clip is a line, painted or not, of at most so many columns: what is longer ends in an ellipsis.
func Clip(line string, columns int) string {
	if Width(line) <= columns {
		return line
	}
	var b strings.Builder
	for room := columns - 1; line != ""; {
		if painted, rest, ok := paint(line); ok {
			b.WriteString(painted)
			line = rest
			continue
		}
		r, n := utf8.DecodeRuneInString(line)
		if room -= width(string(r)); room < 0 {
			break
		}
		b.WriteString(line[:n])
		line = line[n:]
	}
	b.WriteString("…")
	if strings.Contains(b.String(), "\033[") {
		b.WriteString("\033[0m")
	}
	return b.String()
}

// paint cuts what a Palette put at the beginning of a text.
func paint(text string) (painted, rest string, ok bool) {
	if !strings.HasPrefix(text, "\033[") {
		return "", text, false
	}
	end := strings.IndexByte(text, 'm')
	if end < 0 {
		return "", text, false
	}
	return text[:end+1], text[end+1:], true
}

package report

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// lines are the table's cells as text, the head first, and what is told below: bounds, reasons
// and notes. A group without rows is its notes, which say why.
func (g *Group) lines() (table [][]string, below []string) {
	if len(g.Rows) == 0 {
		return nil, g.Notes
	}
	table = append(table, append([]string{""}, g.Columns...))
	var reasons, bounds []string
	for _, row := range g.Rows {
		line := []string{row.Name}
		for i, c := range row.Cells {
			text := c.String()
			if c.Why != "" {
				at := slices.Index(reasons, c.Why)
				if at < 0 {
					at = len(reasons)
					reasons = append(reasons, c.Why)
				}
				text += fmt.Sprintf(" [%d]", at+1)
			}
			if c.Bound != nil && i < len(g.Columns) {
				bounds = append(bounds, g.Columns[i]+" "+c.Bound.text(c.Unit))
			}
			line = append(line, text)
		}
		for len(line) < len(table[0]) {
			line = append(line, "")
		}
		table = append(table, line)
	}
	if len(bounds) > 0 {
		slices.Sort(bounds)
		below = append(below, "✓ and ✗: "+strings.Join(slices.Compact(bounds), ", ")+".")
	}
	for i, r := range reasons {
		below = append(below, fmt.Sprintf("[%d] %s", i+1, r))
	}
	return table, append(below, g.Notes...)
}

// widths of the columns, in letters.
func widths(table [][]string) []int {
	if len(table) == 0 {
		return nil
	}
	w := make([]int, len(table[0]))
	for _, line := range table {
		for i, text := range line {
			w[i] = max(w[i], utf8.RuneCountInString(text))
		}
	}
	return w
}

// pad fills up with spaces: names at the right, figures at the left, so that these line up.
func pad(text string, width, column int) string {
	space := strings.Repeat(" ", max(0, width-utf8.RuneCountInString(text)))
	if column == 0 {
		return text + space
	}
	return space + text
}

// Text is the group as an aligned table for a terminal.
func (g *Group) Text() string {
	table, below := g.lines()
	w := widths(table)
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n", g.Title)
	for _, line := range table {
		for i, text := range line {
			line[i] = pad(text, w[i], i)
		}
		fmt.Fprintf(&b, "  %s\n", strings.TrimRight(strings.Join(line, "   "), " "))
	}
	if len(below) > 0 {
		b.WriteByte('\n')
	}
	for _, note := range below {
		fmt.Fprintf(&b, "  %s\n", note)
	}
	return b.String()
}

// Markdown is the group as a section of a page.
func (g *Group) Markdown() string {
	table, below := g.lines()
	w := widths(table)
	var b strings.Builder
	fmt.Fprintf(&b, "## %s\n\n", g.Title)
	for n, line := range table {
		for i, text := range line {
			line[i] = pad(strings.ReplaceAll(text, "|", `\|`), w[i], i)
		}
		fmt.Fprintf(&b, "| %s |\n", strings.Join(line, " | "))
		if n == 0 {
			b.WriteString("|" + strings.Repeat("-", w[0]+2))
			for _, width := range w[1:] {
				b.WriteString("|" + strings.Repeat("-", width+1) + ":")
			}
			b.WriteString("|\n")
		}
	}
	if len(below) > 0 {
		b.WriteByte('\n')
	}
	for _, note := range below {
		fmt.Fprintf(&b, "- %s\n", note)
	}
	return b.String()
}

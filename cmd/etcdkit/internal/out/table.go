package out

import (
	"strings"

	"github.com/mattn/go-runewidth"
)

// Cell is one of a table.
type Cell struct {
	Text   string
	Colour Colour
	Right  bool // a number, under its column's right end
}

// Table is rows of cells in columns, the first of them a heading, indented by two.
func (p Palette) Table(rows [][]Cell) string { return p.Fit(rows, 0) }

// Fit is Table, with the last column cut where a line would be longer than so many columns; 0 is as long as it is.
func (p Palette) Fit(rows [][]Cell, columns int) string {
	var widths []int
	right := make(map[int]bool)
	for _, row := range rows {
		for i, c := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], width(c.Text))
			right[i] = right[i] || c.Right
		}
	}
	var b strings.Builder
	for _, row := range rows {
		var line strings.Builder
		column := 0
		for i, c := range row {
			padding := strings.Repeat(" ", widths[i]-width(c.Text))
			switch {
			case right[i]:
				line.WriteString("  " + padding + p.Paint(c.Text, c.Colour))
			case i < len(row)-1:
				line.WriteString("  " + p.Paint(c.Text, c.Colour) + padding)
			default:
				line.WriteString("  " + p.Paint(cut(c.Text, columns-column-2), c.Colour))
			}
			column += 2 + widths[i]
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	return b.String()
}

// narrowest is what a column keeps of its text, however narrow the terminal is.
const narrowest = 10

// cut is a text of at most so many columns, if that is more than none.
func cut(text string, columns int) string {
	if columns < narrowest || width(text) <= columns {
		return text
	}
	return measure().Truncate(text, columns, "…")
}

// width is how many columns a text takes on a terminal: two for each character of Korean, say.
func width(text string) int { return measure().StringWidth(text) }

// measure does not follow the environment, where "·" has two columns in some: the output is the same everywhere.
func measure() *runewidth.Condition { return &runewidth.Condition{StrictEmojiNeutral: true} }

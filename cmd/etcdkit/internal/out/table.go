package out

import (
	"strings"
	"unicode/utf8"
)

// Cell is one of a table.
type Cell struct {
	Text   string
	Colour Colour
}

// Table is rows of cells in columns, the first of them a heading, indented by two.
func (p Palette) Table(rows [][]Cell) string {
	var widths []int
	for _, row := range rows {
		for i, c := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(c.Text))
		}
	}
	var b strings.Builder
	for _, row := range rows {
		line := ""
		for i, c := range row {
			line += "  " + p.Paint(c.Text, c.Colour)
			if i < len(row)-1 {
				line += strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c.Text))
			}
		}
		b.WriteString(line + "\n")
	}
	return b.String()
}

package plot

import (
	"math"
	"slices"
	"sort"
	"strings"
	"unicode/utf8"

	"github.com/guptarohit/asciigraph"
)

// Terminal draws the charts below one another as plain text without colours, so that it reads the same
// on a screen, in a file and in a README: lines differ by their weight. Width is that of the whole
// picture in columns (at least 24), height that of each chart in rows, which gives way a little to let
// every label fall on a row. Each line ends in a newline.
func Terminal(width, height int, charts ...Chart) string {
	var pictures []string
	for i := range charts {
		pictures = append(pictures, picture(charts, i, width, height))
	}
	return strings.Join(pictures, "\n")
}

// Panels draws the charts as Terminal does, each into lines of its own, to be laid beside one
// another or coloured. All have the same number of lines, each filled up to width.
func Panels(width, height int, charts ...Chart) [][]string {
	panels := make([][]string, len(charts))
	rows := 0
	for i := range charts {
		panels[i] = strings.Split(strings.TrimSuffix(picture(charts, i, width, height), "\n"), "\n")
		rows = max(rows, len(panels[i]))
	}
	for i, lines := range panels {
		for range rows - len(lines) {
			lines = append(lines, "")
		}
		for j, line := range lines {
			lines[j] = line + strings.Repeat(" ", max(0, width-utf8.RuneCountInString(line)))
		}
		panels[i] = lines
	}
	return panels
}

func picture(charts []Chart, i, width, height int) string {
	var b strings.Builder
	heading(&b, charts[i])
	x, y, ok := axes(charts, i, max(width, 24)/8, max(height, 2))
	if !ok {
		b.WriteString("  (no data)\n")
		return b.String()
	}
	b.WriteString(body(charts[i], x, y, max(width, 24), max(height, 2)))
	b.WriteByte('\n')
	return b.String()
}

// heading writes the title, and below it what the axis shows and which line is which.
func heading(b *strings.Builder, c Chart) {
	if c.Title != "" {
		b.WriteString(c.Title + "\n")
	}
	var below []string
	if c.YLabel != "" {
		below = append(below, c.YLabel)
	}
	if len(c.Series) > 1 {
		for i, s := range c.Series {
			below = append(below, strings.Repeat(weight(i).Horizontal, 2)+" "+s.Name)
		}
	}
	if len(below) > 0 {
		b.WriteString("  " + strings.Join(below, "   ") + "\n")
	}
}

// gutter is what asciigraph puts between the labels of the y axis and the first column.
const gutter = 3

func body(c Chart, x, y axis, width, height int) string {
	perStep := max(1, height/y.steps)
	margin := 0
	for i := range y.steps + 1 {
		margin = max(margin, utf8.RuneCountInString(y.label(y.at(i))))
	}
	last := utf8.RuneCountInString(x.label(x.at(x.steps))) // centred on the last column, so it sticks out
	columns := max(width-margin-gutter-(last-1)/2, 2)

	var lines [][]float64
	var weights []asciigraph.CharSet
	for i, s := range slices.Backward(c.Series) { // the first is drawn last, over the others
		if points := s.drawn(); len(points) > 0 {
			lines = append(lines, sample(points, c.Steps, x, columns))
			weights = append(weights, weight(i))
		}
	}
	picture := asciigraph.PlotMany(lines,
		asciigraph.Height(perStep*y.steps),
		asciigraph.LowerBound(y.lo),
		asciigraph.UpperBound(y.at(y.steps)),
		asciigraph.YAxisValueFormatter(func(v float64) string {
			tick := math.Round((v - y.lo) / y.step)
			if math.Abs((v-y.lo)/y.step-tick) > slack {
				return "" // a row between two labels
			}
			return y.label(y.at(int(tick)))
		}),
		asciigraph.XAxisRange(x.lo, x.at(x.steps)),
		asciigraph.XAxisTickCount(x.steps+1),
		asciigraph.XAxisValueFormatter(x.label),
		asciigraph.SeriesChars(weights...))
	if c.XLabel == "" {
		return picture
	}
	indent := margin + gutter + (columns-utf8.RuneCountInString(c.XLabel))/2
	return picture + "\n" + strings.Repeat(" ", max(0, indent)) + c.XLabel
}

// sample reads a line off at evenly spaced columns; where it has not begun or is over there is nothing.
func sample(points []Point, steps bool, x axis, columns int) []float64 {
	line := make([]float64, columns)
	for i := range line {
		at := x.lo + x.step*float64(x.steps)*float64(i)/float64(columns-1)
		next := sort.Search(len(points), func(j int) bool { return points[j].X > at })
		switch {
		case next == 0:
			line[i] = math.NaN()
		case next == len(points):
			line[i] = math.NaN()
			if at-points[next-1].X < x.step*float64(x.steps)/float64(columns-1) {
				line[i] = points[next-1].Y // the last point, in the column where it falls
			}
		case steps:
			line[i] = points[next-1].Y
		default:
			p, q := points[next-1], points[next]
			line[i] = p.Y + (q.Y-p.Y)*(at-p.X)/(q.X-p.X)
		}
	}
	return line
}

// weight is the look of the i-th line.
func weight(i int) asciigraph.CharSet {
	return []asciigraph.CharSet{
		asciigraph.DefaultCharSet,
		{
			Horizontal: "━", VerticalLine: "┃", ArcDownRight: "┏", ArcDownLeft: "┓",
			ArcUpRight: "┗", ArcUpLeft: "┛", StartCap: "╺", EndCap: "╸",
		},
		{
			Horizontal: "┄", VerticalLine: "┆", ArcDownRight: "┌", ArcDownLeft: "┐",
			ArcUpRight: "└", ArcUpLeft: "┘", StartCap: "╶", EndCap: "╴",
		},
		{
			Horizontal: "═", VerticalLine: "║", ArcDownRight: "╔", ArcDownLeft: "╗",
			ArcUpRight: "╚", ArcUpLeft: "╝", StartCap: "═", EndCap: "═",
		},
	}[i%4]
}

package compare

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/out"
	"github.com/etcdkit/etcdkit/internal/plot"
)

const (
	// otherLines are those above and below the curves, with what an interactive shell adds.
	otherLines = 16

	// tall is a screen with room for the curves over time and over updates; the second ones come with
	// secondLines more.
	tall        = 36
	secondLines = 6
)

// Picture is the race in width columns and, where the methods are not too many for it, height rows.
func (s *Progress) Picture(width, height int, p out.Palette) []string {
	adds := s.Clients / 2
	clients := fmt.Sprintf("%d clients add and %[1]d subtract", adds)
	if adds == 1 {
		clients = "1 client adds and 1 subtracts"
	}
	times := fmt.Sprintf("%d times", s.Rounds)
	if s.Rounds == 1 {
		times = "once"
	}
	lines := []string{"etcdkit race on " + s.Cluster, clients + ", " + times + " each", ""}
	if height < tall {
		lines = append(lines, s.curves(s.x, width, max(height-otherLines, 4), p)...)
	} else {
		each := min((height-otherLines-secondLines)/2, 20)
		lines = append(append(lines, s.curves(s.x, width, each, p)...), "")
		lines = append(lines, s.curves(s.x.other(), width, each, p)...)
	}
	lines = append(lines, "")
	return append(lines, s.table(p)...)
}

// curves draws the methods next to each other, on one scale.
func (s *Progress) curves(x Axis, width, height int, p out.Palette) []string {
	const gap = "  "
	var charts []plot.Chart
	for _, a := range s.Methods {
		charts = append(charts, a.chart(s, x))
	}
	each := (width - len(gap)*(len(charts)-1)) / len(charts)
	panels := plot.Panels(each, height, charts...)
	var lines []string
	for row := range panels[0] {
		var cells []string
		for i, panel := range panels {
			cell := panel[row]
			cell = curveIn(p, cell, s.Methods[i].colour())
			if row == 0 {
				cell = p.Paint(cell, out.Bold)
			}
			cells = append(cells, cell)
		}
		lines = append(lines, strings.TrimRight(strings.Join(cells, gap), " "))
	}
	return lines
}

// columns of the table: the first to the left, the figures to the right.
const tableRow = "%-8s  %13s  %9s  %9s  %9s  %10s  %10s"

func (s *Progress) table(p out.Palette) []string {
	lines := []string{fmt.Sprintf(tableRow, "LOCK", "LOST", "COUNTER", "MS/UPDATE", "× ONE PUT", "HAND-OVERS", "WORST WAIT")}
	for _, a := range s.Methods {
		cells := []any{a.Lock, "-", "-", "-", "-", "-", "-"}
		if a.Updates > 0 {
			cells[1], cells[2] = fmt.Sprintf("%d of %d", a.Lost, a.Updates), fmt.Sprint(a.Counter)
			switch {
			case a.over && a.Counter != 0:
				cells[2] = fmt.Sprintf("%d ≠ 0", a.Counter)
			case a.over && a.Lost > 0:
				cells[2] = "0 by luck"
			}
			cells[3], cells[4] = decimal(a.PerUpdate), decimal(a.TimesPut)
			if a.HandOvers != nil {
				cells[5] = fmt.Sprint(*a.HandOvers)
			}
			cells[6] = decimal(a.WorstWait) + " ms"
		}
		line := fmt.Sprintf(tableRow, cells...)
		lines = append(lines, p.Paint(line[:len(a.Lock)], a.colour())+line[len(a.Lock):])
	}
	return append(lines, strings.TrimRight(fmt.Sprintf(tableRow, "one Put", "", "", decimal(s.Put), "1.0", "", ""), " "))
}

// decimal keeps what a reader compares: a tenth.
func decimal(m Millis) string { return fmt.Sprintf("%.1f", float64(m)) }

// colour is near to that of the SVG.
func (a *MethodProgress) colour() out.Colour {
	return map[string]out.Colour{"none": out.Orange, "clientv3": out.Blue, "etcdkit": out.Green}[a.Lock]
}

// curveIn colours what stands right of the y axis.
func curveIn(p out.Palette, line string, how out.Colour) string {
	at := strings.IndexAny(line, "┤┼")
	if at < 0 {
		return line
	}
	at += len("┤")
	return line[:at] + p.Paint(line[at:], how)
}

// SVG is a drawing of the race.
func (s *Progress) SVG() ([]byte, error) {
	var charts []plot.Chart
	for _, a := range s.Methods {
		chart := a.chart(s, s.x)
		chart.Title = fmt.Sprintf("%s: %d of %d lost, %s ms an update, %s × one Put", a.title, a.Lost, a.Updates, decimal(a.PerUpdate), decimal(a.TimesPut))
		chart.YLabel = "counter"
		charts = append(charts, chart)
	}
	var b bytes.Buffer
	if err := plot.SVG(&b, charts...); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

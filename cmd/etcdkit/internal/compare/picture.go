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
func (p *Progress) Picture(width, height int, palette out.Palette) []string {
	adds := p.Clients / 2
	clients := fmt.Sprintf("%d clients add and %[1]d subtract", adds)
	if adds == 1 {
		clients = "1 client adds and 1 subtracts"
	}
	times := fmt.Sprintf("%d times", p.Rounds)
	if p.Rounds == 1 {
		times = "once"
	}
	lines := []string{"etcdkit race on " + p.Cluster, clients + ", " + times + " each", ""}
	if height < tall {
		lines = append(lines, p.curves(p.x, width, max(height-otherLines, 4), palette)...)
	} else {
		each := min((height-otherLines-secondLines)/2, 20)
		lines = append(append(lines, p.curves(p.x, width, each, palette)...), "")
		lines = append(lines, p.curves(p.x.other(), width, each, palette)...)
	}
	lines = append(lines, "")
	return append(lines, p.table(palette)...)
}

// curves draws the methods next to each other, on one scale.
func (p *Progress) curves(x Axis, width, height int, palette out.Palette) []string {
	const gap = "  "
	var charts []plot.Chart
	for _, m := range p.Methods {
		charts = append(charts, m.chart(p, x))
	}
	each := (width - len(gap)*(len(charts)-1)) / len(charts)
	panels := plot.Panels(each, height, charts...)
	var lines []string
	for row := range panels[0] {
		var cells []string
		for i, panel := range panels {
			cell := panel[row]
			cell = curveIn(palette, cell, p.Methods[i].colour())
			if row == 0 {
				cell = palette.Paint(cell, out.Bold)
			}
			cells = append(cells, cell)
		}
		lines = append(lines, strings.TrimRight(strings.Join(cells, gap), " "))
	}
	return lines
}

// columns of the table: the first to the left, the figures to the right.
const tableRow = "%-8s  %13s  %9s  %9s  %9s  %10s  %10s"

func (p *Progress) table(palette out.Palette) []string {
	lines := []string{fmt.Sprintf(tableRow, "LOCK", "LOST", "COUNTER", "MS/UPDATE", "× ONE PUT", "HAND-OVERS", "WORST WAIT")}
	for _, m := range p.Methods {
		cells := []any{m.Lock, "-", "-", "-", "-", "-", "-"}
		if m.Updates > 0 {
			cells[1], cells[2] = fmt.Sprintf("%d of %d", m.Lost, m.Updates), fmt.Sprint(m.Counter)
			switch {
			case m.over && m.Counter != 0:
				cells[2] = fmt.Sprintf("%d ≠ 0", m.Counter)
			case m.over && m.Lost > 0:
				cells[2] = "0 by luck"
			}
			cells[3], cells[4] = decimal(m.PerUpdate), decimal(m.TimesPut)
			if m.HandOvers != nil {
				cells[5] = fmt.Sprint(*m.HandOvers)
			}
			cells[6] = decimal(m.WorstWait) + " ms"
		}
		line := fmt.Sprintf(tableRow, cells...)
		lines = append(lines, palette.Paint(line[:len(m.Lock)], m.colour())+line[len(m.Lock):])
	}
	return append(lines, strings.TrimRight(fmt.Sprintf(tableRow, "one Put", "", "", decimal(p.Put), "1.0", "", ""), " "))
}

// decimal keeps what a reader compares: a tenth.
func decimal[F ~float64](f F) string { return fmt.Sprintf("%.1f", float64(f)) }

// colour is near to that of the SVG.
func (m *MethodProgress) colour() out.Colour {
	return map[string]out.Colour{"none": out.Orange, "clientv3": out.Blue, "etcdkit": out.Green}[m.Lock]
}

// curveIn colours what stands right of the y axis.
func curveIn(palette out.Palette, line string, how out.Colour) string {
	at := strings.IndexAny(line, "┤┼")
	if at < 0 {
		return line
	}
	at += len("┤")
	return line[:at] + palette.Paint(line[at:], how)
}

// SVG is a drawing of the race.
func (p *Progress) SVG() ([]byte, error) {
	var charts []plot.Chart
	for _, m := range p.Methods {
		chart := m.chart(p, p.x)
		chart.Title = fmt.Sprintf("%s: %d of %d lost, %s ms an update, %s × one Put", m.title, m.Lost, m.Updates, decimal(m.PerUpdate), decimal(m.TimesPut))
		chart.YLabel = "counter"
		charts = append(charts, chart)
	}
	var b bytes.Buffer
	if err := plot.SVG(&b, charts...); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/etcdkit/etcdkit/internal/plot"
)

// around is what stands above and below the curves, with what an interactive shell adds.
const around = 16

// picture is the race in width columns and, where the arms are not too many for it, height rows.
func (s *standing) picture(width, height int, colours bool) []string {
	adds := s.Clients / 2
	who := fmt.Sprintf("%d clients add and %[1]d subtract", adds)
	if adds == 1 {
		who = "1 client adds and 1 subtracts"
	}
	times := fmt.Sprintf("%d times", s.Rounds)
	if s.Rounds == 1 {
		times = "once"
	}
	lines := []string{"etcdkit race on " + s.Cluster, who + ", " + times + " each", ""}
	lines = append(lines, s.curves(width, min(max(height-around, 4), 20), colours)...)
	lines = append(lines, "")
	return append(lines, s.table(colours)...)
}

// curves draws the arms beside one another, on one scale.
func (s *standing) curves(width, height int, colours bool) []string {
	const gap = "  "
	var charts []plot.Chart
	for _, a := range s.Arms {
		charts = append(charts, a.chart(s))
	}
	each := (width - len(gap)*(len(charts)-1)) / len(charts)
	panels := plot.Panels(each, height, charts...)
	var lines []string
	for row := range panels[0] {
		var cells []string
		for i, panel := range panels {
			cell := panel[row]
			if colours {
				cell = curveIn(cell, s.Arms[i].colour())
				if row == 0 {
					cell = paint(cell, bold)
				}
			}
			cells = append(cells, cell)
		}
		lines = append(lines, strings.TrimRight(strings.Join(cells, gap), " "))
	}
	return lines
}

// columns of the table: the first to the left, the figures to the right.
const tableRow = "%-8s  %7s  %13s  %9s  %9s  %10s  %10s"

func (s *standing) table(colours bool) []string {
	lines := []string{fmt.Sprintf(tableRow, "ARM", "COUNTER", "LOST", "MS/UPDATE", "× ONE PUT", "HAND-OVERS", "WORST WAIT")}
	for _, a := range s.Arms {
		cells := []any{a.Arm, "-", "-", "-", "-", "-", "-"}
		if a.Updates > 0 {
			cells[1] = fmt.Sprint(a.Counter)
			if a.over && a.Counter != 0 {
				cells[1] = fmt.Sprintf("%d ≠ 0", a.Counter)
			}
			cells[2] = fmt.Sprintf("%d of %d", a.Lost, a.Updates)
			cells[3], cells[4] = decimal(a.Each), decimal(a.Puts)
			if a.HandOvers != nil {
				cells[5] = fmt.Sprint(*a.HandOvers)
			}
			cells[6] = decimal(a.WorstWait) + " ms"
		}
		line := fmt.Sprintf(tableRow, cells...)
		if colours {
			line = paint(line[:len(a.Arm)], a.colour()) + line[len(a.Arm):]
		}
		lines = append(lines, line)
	}
	return append(lines, strings.TrimRight(fmt.Sprintf(tableRow, "one Put", "", "", decimal(s.Put), "1.0", "", ""), " "))
}

// decimal keeps what a reader compares: a tenth.
func decimal(m millis) string { return fmt.Sprintf("%.1f", float64(m)) }

// The colours are the terminal's own, near to those of the SVG: what the reader chose to be legible.
const (
	bold   = "1"
	orange = "33"
	blue   = "36"
	green  = "32"
)

func (a *armStanding) colour() string {
	return map[string]string{"none": orange, "clientv3": blue, "etcdkit": green}[a.Arm]
}

func paint(text, how string) string { return "\033[" + how + "m" + text + "\033[0m" }

// curveIn colours what stands right of the y axis.
func curveIn(line, how string) string {
	at := strings.IndexAny(line, "┤┼")
	if at < 0 {
		return line
	}
	at += len("┤")
	return line[:at] + paint(line[at:], how)
}

// coloured tells whether the user wants colours: https://no-color.org.
func coloured() bool { return os.Getenv("NO_COLOR") == "" }

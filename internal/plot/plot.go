// Package plot draws small line charts: as text for a terminal, as SVG for a page.
//
//	runs := []plot.Chart{
//		{Title: "without lock", XLabel: "seconds", YLabel: "counter", Steps: true,
//			Series: []plot.Series{{Name: "without lock", Points: a}}},
//		{Title: "with lock", XLabel: "seconds", YLabel: "counter", Steps: true,
//			Series: []plot.Series{{Name: "with lock", Points: b}}},
//	}
//	fmt.Print(plot.Terminal(80, 8, runs...))
//	err := plot.SVG(file, runs...)
//
// Series in one chart share both axes, so a short one ends where it ended; the first lies over the
// others. Charts are drawn below one another, each with an x axis of its own: runs of 0.2 s and of 5 s
// both fill the width. Charts with the same YLabel share one y scale, so that heights compare. A
// series keeps its colour, by name, throughout an SVG. There are four colours and four weights of
// line; a fifth series in one chart looks like the first.
//
// A point whose X or Y is not a number, or beyond ±1e100, is left out. The same input always gives
// the same bytes, so a picture can be a golden file.
package plot

import (
	"math"
	"strconv"
)

// A Chart is one pair of axes and the lines drawn in it. Empty labels take no room.
type Chart struct {
	Title          string
	XLabel, YLabel string  // with the unit: "seconds"
	XTo            float64 // the x axis reaches at least so far: a line that grows keeps its scale
	Steps          bool    // a value holds until the next point, as a counter's does; otherwise straight lines
	Series         []Series
}

// A Series is one named line.
type Series struct {
	Name   string
	Points []Point // by ascending X
}

// A Point is one sample.
type Point struct{ X, Y float64 }

// drawn returns the points that can be drawn.
func (s Series) drawn() []Point {
	points := make([]Point, 0, len(s.Points))
	for _, p := range s.Points {
		if math.Abs(p.X) <= limit && math.Abs(p.Y) <= limit { // false for NaN
			points = append(points, p)
		}
	}
	return points
}

// An axis is a range that starts and ends at round numbers, a whole number of steps apart.
type axis struct {
	lo, step float64
	steps    int
}

// at is the value of tick i, zero exactly where zero is meant; at(steps) is the upper end.
func (a axis) at(i int) float64 {
	v := a.lo + float64(i)*a.step
	if math.Abs(v) < a.step/2 {
		return 0
	}
	return v
}

// portion says where v lies on the axis: 0 at the lower end, 1 at the upper.
func (a axis) portion(v float64) float64 { return (v - a.lo) / (a.step * float64(a.steps)) }

// label writes tick value v with just the digits that the step needs.
func (a axis) label(v float64) string {
	digits := max(0, -int(math.Floor(math.Log10(a.step)+slack)))
	if digits > 6 || math.Abs(v) >= 1e7 {
		return strconv.FormatFloat(v, 'g', 4, 64)
	}
	return strconv.FormatFloat(v, 'f', digits, 64)
}

const (
	slack = 1e-9  // absorbs the rounding of 0.1 + 0.2
	limit = 1e100 // larger values would overflow on the way to the picture
)

// axes returns the x and the y axis of chart i, with about nx and ny steps; ok is false when there is
// nothing to draw.
func axes(charts []Chart, i, nx, ny int) (x, y axis, ok bool) {
	var xs, ys extent
	for j, c := range charts {
		for _, s := range c.Series {
			for _, p := range s.drawn() {
				if j == i {
					xs.add(p.X)
				}
				if c.YLabel == charts[i].YLabel {
					ys.add(p.Y)
				}
			}
		}
	}
	if to := charts[i].XTo; xs.some && to > xs.hi && to <= limit {
		xs.add(to)
	}
	return xs.axis(nx), ys.axis(ny), xs.some
}

// An extent collects values and knows the smallest and the largest.
type extent struct {
	lo, hi      float64
	some, parts bool // any value at all; any that is not a whole number
}

func (e *extent) add(v float64) {
	if !e.some {
		e.lo, e.hi, e.some = v, v, true
	}
	e.lo, e.hi = min(e.lo, v), max(e.hi, v)
	e.parts = e.parts || v != math.Trunc(v)
}

// axis widens the extent to round numbers (1, 2 or 5 times a power of ten), about n steps apart.
// Whole numbers get whole steps: there are no 0.2 updates.
func (e extent) axis(n int) axis {
	lo, hi := e.lo, e.hi
	if size := max(math.Abs(lo), math.Abs(hi)); hi-lo <= max(size*slack, 1/limit) {
		hi = lo + max(1, size) // a flat line, any height will do
	}
	rough := (hi - lo) / float64(n)
	power := math.Pow(10, math.Floor(math.Log10(rough)))
	step := 10 * power
	for _, m := range []float64{1, 2, 5} {
		if m*power >= rough*(1-slack) {
			step = m * power
			break
		}
	}
	if !e.parts {
		step = max(step, 1)
	}
	first, last := math.Floor(lo/step+slack), math.Ceil(hi/step-slack)
	return axis{lo: first * step, step: step, steps: max(1, int(last-first))}
}

package report

import (
	"io"

	"github.com/etcdkit/etcdkit/internal/plot"
)

// SVG draws the distributions of all groups: which portion was done within a time. The slowest
// hundredth is left out: it would squeeze the rest. It is false when there is nothing to draw.
func (r *Report) SVG(w io.Writer) (bool, error) {
	var charts []plot.Chart
	for _, g := range r.Groups {
		at := make(map[string]int) // of a chart's title
		for _, d := range g.Distributions {
			if len(d.Percentiles) == 0 {
				continue
			}
			if _, ok := at[d.Chart]; !ok {
				at[d.Chart] = len(charts)
				charts = append(charts, plot.Chart{Title: d.Chart, XLabel: "milliseconds", YLabel: "% done"})
			}
			c := &charts[at[d.Chart]]
			c.Series = append(c.Series, plot.Series{Name: d.Name, Points: d.points()})
		}
	}
	if len(charts) == 0 {
		return false, nil
	}
	return true, plot.SVG(w, charts...)
}

func (d *Distribution) points() []plot.Point {
	var points []plot.Point
	for _, q := range d.Percentiles {
		if q.P < 100 {
			points = append(points, plot.Point{X: q.Seconds * 1000, Y: q.P})
		}
	}
	return points
}

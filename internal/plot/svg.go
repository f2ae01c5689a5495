package plot

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// The measures of the picture, in its own units.
const (
	svgWidth = 760
	svgLeft  = 56  // room for the labels of the y axis
	svgRight = 28  // room for half a label of the x axis
	svgTop   = 62  // room for the title, the name of the y axis and the legend
	svgPlot  = 190 // height of the plotting area
	svgBelow = 56  // room for the labels and the name of the x axis
)

// svgStyle brings its own background, so the picture reads on any page, and follows a dark one. The
// colours are Okabe and Ito's, told apart by colour-blind eyes too.
const svgStyle = `<style>
.plot { font: 12px system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }
.plot .back { fill: #ffffff; } .plot text { fill: #57606a; } .plot .title { fill: #1f2328; font-size: 15px; font-weight: 600; }
.plot .grid { stroke: #e3e7eb; } .plot .zero, .plot .axis { stroke: #8c959f; } .plot .line { fill: none; stroke-width: 1.8; stroke-linejoin: round; }
.plot .c0 { stroke: #d55e00; } .plot .c1 { stroke: #0072b2; } .plot .c2 { stroke: #007a5c; } .plot .c3 { stroke: #a94d82; }
.plot .d0 { fill: #d55e00; } .plot .d1 { fill: #0072b2; } .plot .d2 { fill: #007a5c; } .plot .d3 { fill: #a94d82; }
@media (prefers-color-scheme: dark) {
.plot .back { fill: #0d1117; } .plot text { fill: #9198a1; } .plot .title { fill: #f0f6fc; }
.plot .grid { stroke: #262c36; } .plot .zero, .plot .axis { stroke: #656c76; }
.plot .c0 { stroke: #e69f00; } .plot .c1 { stroke: #56b4e9; } .plot .c2 { stroke: #3fc79a; } .plot .c3 { stroke: #dd95bd; }
.plot .d0 { fill: #e69f00; } .plot .d1 { fill: #56b4e9; } .plot .d2 { fill: #3fc79a; } .plot .d3 { fill: #dd95bd; }
}
</style>
`

// SVG writes the charts below one another as one self-contained picture: no scripts, no fonts to fetch,
// light or dark as the reader's screen is.
func SVG(w io.Writer, charts ...Chart) error {
	var b bytes.Buffer // a picture is small: building it whole leaves one write that can fail
	height := len(charts) * (svgTop + svgPlot + svgBelow)
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" class="plot" role="img" viewBox="0 0 %d %d">`+"\n", svgWidth, height)
	var titles []string
	for _, c := range charts {
		titles = append(titles, c.Title)
	}
	fmt.Fprintf(&b, "<title>%s</title>\n%s", escape(strings.Join(titles, "; ")), svgStyle)
	fmt.Fprintf(&b, `<rect class="back" width="%d" height="%d"/>`+"\n", svgWidth, height)
	colours := map[string]int{}
	for i, c := range charts {
		for _, s := range c.Series {
			if _, known := colours[s.Name]; !known {
				colours[s.Name] = len(colours) % 4
			}
		}
		fmt.Fprintf(&b, `<g transform="translate(0 %d)">`+"\n", i*(svgTop+svgPlot+svgBelow))
		panel(&b, charts, i, colours)
		b.WriteString("</g>\n")
	}
	b.WriteString("</svg>\n")
	if _, err := w.Write(b.Bytes()); err != nil {
		return fmt.Errorf("plot: write the picture: %w", err)
	}
	return nil
}

func panel(b *bytes.Buffer, charts []Chart, i int, colours map[string]int) {
	c := charts[i]
	const right, bottom = svgWidth - svgRight, svgTop + svgPlot
	text(b, svgLeft, 28, `class="title"`, c.Title)
	text(b, svgLeft, svgTop-12, "", c.YLabel)
	text(b, (svgLeft+right)/2, bottom+40, `text-anchor="middle"`, c.XLabel)
	if len(c.Series) > 1 {
		legend(b, c.Series, colours)
	}
	x, y, ok := axes(charts, i, 12, 5)
	if !ok {
		text(b, (svgLeft+right)/2, svgTop+svgPlot/2, `text-anchor="middle"`, "no data")
		return
	}
	for t := range y.steps + 1 {
		v := y.at(t)
		at := bottom - svgPlot*y.portion(v)
		class := "grid"
		if v == 0 {
			class = "zero"
		}
		line(b, class, svgLeft, at, right, at)
		text(b, svgLeft-8, at+4, `text-anchor="end"`, y.label(v))
	}
	for t := range x.steps + 1 {
		v := x.at(t)
		at := svgLeft + (right-svgLeft)*x.portion(v)
		line(b, "axis", at, bottom, at, bottom+5)
		text(b, at, bottom+20, `text-anchor="middle"`, x.label(v))
	}
	line(b, "axis", svgLeft, bottom, right, bottom)
	for _, s := range slices.Backward(c.Series) { // the first is drawn last, over the others
		curve(b, s.drawn(), c.Steps, x, y, colours[s.Name])
	}
}

// curve draws a line and a dot where it ends, so that a short run is seen to be over.
func curve(b *bytes.Buffer, points []Point, steps bool, x, y axis, colour int) {
	if len(points) == 0 {
		return
	}
	var path strings.Builder
	var px, py string
	for i, p := range points {
		px = number(svgLeft + (svgWidth-svgRight-svgLeft)*x.portion(p.X))
		py = number(svgTop + svgPlot - svgPlot*y.portion(p.Y))
		switch {
		case i == 0:
			path.WriteString("M" + px + " " + py)
		case steps:
			path.WriteString("H" + px + "V" + py)
		default:
			path.WriteString("L" + px + " " + py)
		}
	}
	fmt.Fprintf(b, `<path class="line c%d" d="%s"/><circle class="d%d" cx="%s" cy="%s" r="3.5"/>`+"\n", colour, path.String(), colour, px, py)
}

// legend stands at the right, on the line of the y axis's name. An SVG cannot measure text without a
// script, so the width of a name is estimated, generously.
func legend(b *bytes.Buffer, series []Series, colours map[string]int) {
	width := func(s Series) float64 {
		w := 46.0
		for _, r := range s.Name {
			if w += 7; r >= 0x1100 {
				w += 6 // Korean, Chinese and Japanese letters are about square
			}
		}
		return w
	}
	at := float64(svgWidth - svgRight + 18)
	for _, s := range series {
		at -= width(s)
	}
	for _, s := range series {
		line(b, fmt.Sprint("line c", colours[s.Name]), at, svgTop-16, at+20, svgTop-16)
		text(b, at+26, svgTop-12, "", s.Name)
		at += width(s)
	}
}

func line(b *bytes.Buffer, class string, x1, y1, x2, y2 float64) {
	fmt.Fprintf(b, `<line class="%s" x1="%s" y1="%s" x2="%s" y2="%s"/>`+"\n", class, number(x1), number(y1), number(x2), number(y2))
}

func text(b *bytes.Buffer, x, y float64, attributes, s string) {
	if s == "" {
		return
	}
	if attributes != "" {
		attributes = " " + attributes
	}
	fmt.Fprintf(b, `<text x="%s" y="%s"%s>%s</text>`+"\n", number(x), number(y), attributes, escape(s))
}

// number writes a coordinate: a tenth of a unit is finer than any screen.
func number(v float64) string {
	return strings.TrimSuffix(strconv.FormatFloat(v, 'f', 1, 64), ".0")
}

// escape makes any text safe between tags; what XML cannot hold at all becomes U+FFFD.
func escape(s string) string {
	var b strings.Builder
	xml.EscapeText(&b, []byte(s)) // a Builder never fails
	return b.String()
}

package plot_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/etcdkit/etcdkit/internal/plot"
	"go.uber.org/goleak"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// walk is a counter that goes up and down, the same way on every machine.
func walk(n int, seconds float64) []plot.Point {
	points := []plot.Point{{}}
	value := 0
	for i := range n {
		value += (i*i*7+i*3)%5 - 2
		points = append(points, plot.Point{X: seconds * float64(i+1) / float64(n), Y: float64(value)})
	}
	return points
}

func comb(n int, seconds float64) []plot.Point {
	points := []plot.Point{{}}
	for i := range n {
		points = append(points, plot.Point{X: seconds * float64(i+1) / float64(n), Y: float64((i + 1) % 2)})
	}
	return points
}

// pictures are the golden files. Look at a changed one before you commit it:
// rsvg-convert testdata/NAME.svg -o /tmp/look.png
func pictures() map[string][]plot.Chart {
	without := plot.Series{Name: "without lock", Points: walk(60, 0.19)}
	with := plot.Series{Name: "with lock", Points: comb(60, 3.2)}
	return map[string][]plot.Chart{
		"panels": {
			{Title: "without lock", XLabel: "seconds", YLabel: "counter", Steps: true, Series: []plot.Series{without}},
			{Title: "with lock", XLabel: "seconds", YLabel: "counter", Steps: true, Series: []plot.Series{with}},
		},
		"one-chart": {{
			Title: "Both on one time axis", XLabel: "seconds", YLabel: "counter", Steps: true,
			Series: []plot.Series{without, with},
		}},
		"measurements": {{
			Title: "A locked increment, in Puts", XLabel: "clients", YLabel: "× one Put",
			Series: []plot.Series{
				{Name: "etcdkit", Points: []plot.Point{{X: 2, Y: 1.7}, {X: 10, Y: 1.9}, {X: 50, Y: 2.4}}},
				{Name: "STM", Points: []plot.Point{{X: 2, Y: 2.2}, {X: 10, Y: 4.1}, {X: 50, Y: 6}}},
				{Name: "ZooKeeper", Points: []plot.Point{{X: 2, Y: 4}, {X: 10, Y: 3.6}}},
			},
		}},
		"korean": {{
			Title: "분산락: 더하기와 빼기 <50번씩>", XLabel: "초", YLabel: "카운터",
			Series: []plot.Series{{Name: "락 없이", Points: walk(9, 2)}, {Name: "락으로", Points: comb(9, 3)}},
		}},
	}
}

func TestPicturesLookLikeTheirGoldenFiles(t *testing.T) {
	for name, charts := range pictures() {
		var svg bytes.Buffer
		if err := plot.SVG(&svg, charts...); err != nil {
			t.Fatal(err)
		}
		golden(t, name+".svg", svg.Bytes())
		golden(t, name+".txt", []byte(plot.Terminal(80, 8, charts...)))
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v (run go test with -update to write it)", err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs (run go test with -update if that is meant); got:\n%s", name, got)
	}
}

func TestAnSVGIsWellFormedWhateverItsTextsAre(t *testing.T) {
	evil := "</text><script>alert(1)</script> & \"quotes\" ]]> \x00\x1b[31m \xff"
	chart := plot.Chart{
		Title: evil, XLabel: evil, YLabel: evil,
		Series: []plot.Series{{Name: evil, Points: walk(5, 1)}, {Name: "b" + evil, Points: walk(5, 2)}},
	}
	var svg bytes.Buffer
	if err := plot.SVG(&svg, chart); err != nil {
		t.Fatal(err)
	}
	var texts strings.Builder
	for d := xml.NewDecoder(&svg); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			if token.Name.Local == "script" {
				t.Error("a text has become a <script>")
			}
		case xml.CharData:
			texts.Write(token)
		}
	}
	if want := `</text><script>alert(1)</script> & "quotes" ]]>`; strings.Count(texts.String(), want) != 6 {
		t.Errorf("%q stands %d times in the picture's texts, want 6 (title twice, two axes, two names)",
			want, strings.Count(texts.String(), want))
	}
}

func TestATerminalPictureKeepsItsWidth(t *testing.T) {
	for name, charts := range pictures() {
		for _, width := range []int{24, 40, 80, 133} {
			for i := range charts {
				charts[i].Title, charts[i].YLabel = "", "" // texts are as long as they are
				if len(charts[i].Series) > 1 {
					charts[i].Series = charts[i].Series[:1]
				}
			}
			longest := 0
			for line := range strings.Lines(plot.Terminal(width, 6, charts...)) {
				longest = max(longest, utf8.RuneCountInString(strings.TrimSuffix(line, "\n")))
			}
			if longest > width || longest < width-3 {
				t.Errorf("%s: the longest line has %d columns, want at most %d, and not much less", name, longest, width)
			}
		}
	}
}

func TestAShortSeriesEndsWhereItEnded(t *testing.T) {
	chart := plot.Chart{Series: []plot.Series{
		{Name: "long", Points: []plot.Point{{X: 0, Y: 0}, {X: 10, Y: 0}}},
		{Name: "short", Points: []plot.Point{{X: 0, Y: 4}, {X: 5, Y: 4}}},
	}}
	columns := map[string]int{}
	for line := range strings.Lines(plot.Terminal(80, 4, chart)) {
		columns["long"] = max(columns["long"], strings.Count(line, "─"))
		columns["short"] = max(columns["short"], strings.Count(line, "━"))
	}
	if columns["short"] < columns["long"]*4/10 || columns["short"] > columns["long"]*6/10 {
		t.Errorf("the short line has %d columns beside %d, want about half", columns["short"], columns["long"])
	}
}

func TestChartsOfTheSameYLabelShareTheirScale(t *testing.T) {
	tall := plot.Chart{YLabel: "counter", Series: []plot.Series{{Name: "a", Points: []plot.Point{{X: 0, Y: 0}, {X: 1, Y: 700}}}}}
	flat := plot.Chart{YLabel: "counter", Series: []plot.Series{{Name: "b", Points: []plot.Point{{X: 0, Y: 0}, {X: 1, Y: 1}}}}}
	if got := strings.Count(plot.Terminal(40, 8, tall, flat), " 700 ┤"); got != 2 {
		t.Errorf("the label 700 stands on %d charts, want both", got)
	}
	flat.YLabel = "something else"
	if got := strings.Count(plot.Terminal(40, 8, tall, flat), " 700 ┤"); got != 1 {
		t.Errorf("the label 700 stands on %d charts, want only the first", got)
	}
}

func TestPanelsAreTheTerminalsPicturesAsBlocksOfOneSize(t *testing.T) {
	charts := pictures()["panels"]
	charts = append(charts, plot.Chart{Title: "empty"})
	want := strings.Split(strings.TrimSuffix(plot.Terminal(40, 8, charts...), "\n"), "\n\n")
	panels := plot.Panels(40, 8, charts...)
	for i, lines := range panels {
		if len(lines) != len(panels[0]) {
			t.Errorf("panel %d has %d lines, the first %d", i, len(lines), len(panels[0]))
		}
		var got []string
		for _, line := range lines {
			if width := utf8.RuneCountInString(line); width != 40 {
				t.Errorf("panel %d: %d columns, want 40: %q", i, width, line)
			}
			got = append(got, strings.TrimRight(line, " "))
		}
		if got, want := strings.TrimRight(strings.Join(got, "\n"), "\n"), trimmed(want[i]); got != want {
			t.Errorf("panel %d: got\n%s\nwant\n%s", i, got, want)
		}
	}
}

func trimmed(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = strings.TrimRight(line, " ")
	}
	return strings.Join(lines, "\n")
}

func TestALineThatGrowsKeepsItsScale(t *testing.T) {
	axis := func(points []plot.Point, to float64) string {
		lines := plot.Panels(40, 4, plot.Chart{XTo: to, Series: []plot.Series{{Name: "a", Points: points}}})[0]
		return lines[len(lines)-1]
	}
	whole := walk(100, 100)
	if got, want := axis(whole[:30], 100), axis(whole, 100); got != want {
		t.Errorf("30 of 100: the x axis is %q, want that of the whole %q", got, want)
	}
	if got, want := axis(whole, 30), axis(whole, 0); got != want {
		t.Errorf("a line longer than XTo: the x axis is %q, want %q", got, want)
	}
	if got, want := axis(whole, math.Inf(1)), axis(whole, 0); got != want {
		t.Errorf("XTo without end: the x axis is %q, want %q", got, want)
	}
}

func TestNothingToDrawIsSaid(t *testing.T) {
	for name, series := range map[string][]plot.Series{
		"no series":      nil,
		"no points":      {{Name: "empty"}},
		"nothing finite": {{Name: "odd", Points: []plot.Point{{X: math.NaN()}, {Y: math.Inf(1)}}}},
	} {
		chart := plot.Chart{Title: "what", Series: series}
		if got, want := plot.Terminal(80, 8, chart), "what\n  (no data)\n"; got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
		var svg bytes.Buffer
		if err := plot.SVG(&svg, chart); err != nil || !strings.Contains(svg.String(), "no data") {
			t.Errorf("%s: the SVG does not say \"no data\": %v\n%s", name, err, svg.String())
		}
	}
}

func TestAFailedWriteIsReported(t *testing.T) {
	broken := errors.New("disk full")
	if err := plot.SVG(writerFunc(func([]byte) (int, error) { return 0, broken })); !errors.Is(err, broken) {
		t.Errorf("got %v, want an error that is %v", err, broken)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func FuzzAnyPointsCanBeDrawn(f *testing.F) {
	f.Add(0.0, 0.0, 0.0, 0.0, 80, 8, true)
	f.Add(1.0, -3.0, 2.0, 1e9, 10, 0, false)
	f.Add(1e100, -1e100, 1e100, 1e100, 80, 8, false)
	f.Add(5e-324, 0.0, 1e-300, 5e-324, 80, 8, true)
	f.Add(1e15, 1e15+1, 1e15+2, 1e15+0.5, 30, 3, false)
	f.Fuzz(func(t *testing.T, x1, y1, x2, y2 float64, width, height int, steps bool) {
		chart := plot.Chart{Steps: steps, Series: []plot.Series{
			{Name: "a", Points: []plot.Point{{X: min(x1, x2), Y: y1}, {X: max(x1, x2), Y: y2}}},
			{Name: "b", Points: []plot.Point{{X: x1, Y: y2}}},
		}}
		plot.Terminal(width%300, height%100, chart)
		var svg bytes.Buffer
		if err := plot.SVG(&svg, chart); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(svg.String(), "NaN") || strings.Contains(svg.String(), "Inf") {
			t.Errorf("a coordinate is not a number:\n%s", svg.String())
		}
	})
}

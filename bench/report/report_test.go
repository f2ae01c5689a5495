package report_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/etcdkit/etcdkit/bench/report"
)

func TestAQuantileIsAValueThatWasMeasured(t *testing.T) {
	var s report.Sample
	for _, ms := range []int{30, 10, 20, 40} {
		s.Add(time.Duration(ms) * time.Millisecond)
	}
	for p, want := range map[float64]float64{0: 0.01, 0.25: 0.01, 0.5: 0.02, 0.51: 0.03, 0.99: 0.04, 1: 0.04} {
		if got := s.Quantile(p); got != want {
			t.Errorf("quantile %v of 10, 20, 30, 40 ms: got %v s, want %v s", p, got, want)
		}
	}
	if s[0] != 0.03 {
		t.Errorf("the sample was sorted in place: %v", s)
	}
	if got := (report.Sample{}).Median(); !math.IsNaN(got) {
		t.Errorf("median of nothing: got %v, want NaN", got)
	}
	d := report.Distribute("c", "n", s)
	if d.N != 4 || len(d.Percentiles) != 101 || d.Percentiles[50] != (report.Quantile{P: 50, Seconds: 0.02}) {
		t.Errorf("distribution: got n %d, %d percentiles, the 50th %v", d.N, len(d.Percentiles), d.Percentiles[50])
	}
}

func TestCellsReadAsPeopleWriteThem(t *testing.T) {
	for want, c := range map[string]report.Cell{
		"1.20 ms":      report.Seconds(0.0012),
		"12.3 ns":      report.Seconds(12.3e-9),
		"0 s":          report.Seconds(0),
		"75.0 s":       report.Seconds(75.04),
		"999 B":        report.Bytes(999),
		"60.7 kB":      report.Bytes(60_700),
		"12.1 MB":      report.Bytes(12.1e6),
		"1.20 × ✓":     report.Ratio(1.2).AtMost(1.2),
		"1.21 × ✗":     report.Ratio(1.21).AtMost(1.2),
		"19.9 × ✗":     report.Ratio(19.9).AtLeast(20),
		"20 × ✓":       report.Ratio(20).AtLeast(20),
		"100000":       report.Count(100_000),
		"0 ✓":          report.Count(0).AtMost(0),
		"-3 ✗":         report.Count(-3).Exactly(0),
		"98.5 %":       report.Percent(98.5),
		"not measured": report.Failed(errors.New("why")),
	} {
		if got := c.String(); got != want {
			t.Errorf("%+v: got %q, want %q", c, got, want)
		}
	}
}

func TestRatiosNeedAFloor(t *testing.T) {
	if c := report.RatioOf(3, 2); c.Value != 1.5 || c.Words != "" {
		t.Errorf("3 by 2: got %+v", c)
	}
	if c := report.RatioOf(3, 0); c.Words == "" {
		t.Errorf("3 by nothing: got %+v, want words", c)
	}
}

func group() *report.Group {
	g := &report.Group{Name: "x", Title: "A title", Columns: []string{"p50", "× raw"}}
	g.Add("raw", report.Seconds(0.002), report.Ratio(1))
	g.Add("etcdkit", report.Seconds(0.003), report.Ratio(1.5).AtMost(1.2))
	g.Add("a peer", report.Words("none", "it has none"))
	g.Note("A note.")
	return g
}

func TestATableIsAlignedAndTellsBoundsAndReasonsBelow(t *testing.T) {
	const want = `A title

               p50      × raw
  raw         2 ms        1 ×
  etcdkit     3 ms   1.50 × ✗
  a peer    none [1]

  ✓ and ✗: × raw ≤ 1.20 ×.
  [1] it has none
  A note.
`
	got := group().Text()
	if squeeze(got) != squeeze(want) {
		t.Errorf("got\n%s\nwant, up to spaces,\n%s", got, want)
	}
	var ends []int // where the first column of figures ends
	for _, line := range strings.Split(got, "\n")[2:6] {
		end := -1
		for _, cell := range []string{"p50", "2 ms", "3 ms", "none [1]"} {
			if i := strings.Index(line, cell); i >= 0 {
				end = i + len(cell)
			}
		}
		ends = append(ends, end)
	}
	for _, end := range ends {
		if end != ends[0] {
			t.Errorf("the first column ends at %v in\n%s", ends, got)
			break
		}
	}
}

func TestAGroupThatWasNotMeasuredIsItsNotes(t *testing.T) {
	g := &report.Group{Title: "A title", Notes: []string{"not measured: it rained"}}
	if got, want := squeeze(g.Text()+g.Markdown()), "A title not measured: it rained ## A title - not measured: it rained"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func squeeze(s string) string { return strings.Join(strings.Fields(s), " ") }

func TestEachFormatHasEverything(t *testing.T) {
	r := report.New("t", true)
	r.Groups = append(r.Groups, group())
	print := func(f report.Format) string {
		var b bytes.Buffer
		p := report.NewPrinter(&b, f)
		p.Begin(r)
		p.Group(r.Groups[0])
		if err := p.End(r); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	if got := print(report.Markdown); !strings.Contains(got, "| etcdkit |") || !strings.Contains(got, "\n|---------|-") {
		t.Errorf("markdown:\n%s", got)
	}
	var back report.Report
	if err := json.Unmarshal([]byte(print(report.JSON)), &back); err != nil {
		t.Fatal(err)
	}
	if b := back.Groups[0].Rows[1].Cells[1].Bound; b == nil || b.Held || b.Limit != 1.2 || !back.Quick || back.Machine.Cores < 1 {
		t.Errorf("JSON lost something: %+v", back)
	}
}

func TestProgressInAFileIsALineWhereSomethingElseBegins(t *testing.T) {
	var b bytes.Buffer
	p := report.NewProgress(&b)
	for n := range 100 {
		p.Step("visible", "raw", n+1, 100)
	}
	p.Step("batch", "raw", 1, 5)
	p.Clear()
	if got, want := b.String(), "visible · raw · 1 of 100\nbatch · raw · 1 of 5\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

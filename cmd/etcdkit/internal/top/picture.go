package top

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/out"
	"github.com/etcdkit/etcdkit/doctor"
	"github.com/etcdkit/etcdkit/internal/errtext"
)

// Canvas is where a picture is drawn. Without a width lines are as long as they are, and without a height there are
// as many as there are.
type Canvas struct {
	Width, Height int
	Palette       out.Palette
	Now           time.Time
}

// Picture draws what is known. The view changes where it was scrolled too far.
func (c Canvas) Picture(s State, v *View) []string {
	lines := c.head(s, v)
	lines = append(append(lines, ""), c.members(s)...)
	lines = append(lines, "")
	room := math.MaxInt
	if c.Height > 0 {
		room = max(3, c.Height-len(lines)-1) // and the last line
	}
	switch {
	case s.Inventory.Value == nil && s.Inventory.Err != nil:
		lines = append(lines, c.wrapped("locks and leases could not be read: "+errtext.Text(s.Inventory.Err), out.Red)...)
	case s.Inventory.Value == nil:
		lines = append(lines, "reading the leases …")
	case v.section == overview:
		lines = append(lines, c.all(s, v, room)...)
	default:
		lines = append(lines, c.one(s, v, room)...)
	}
	if c.Height > 0 {
		for len(lines) < c.Height-1 {
			lines = append(lines, "")
		}
		lines = append(lines[:c.Height-1], c.paint("q quits · tab or 1 to 5: view · ↑↓ scroll · s sorts · p pauses", out.Faint))
	}
	if c.Width > 0 {
		for i, line := range lines {
			lines[i] = out.Clip(line, c.Width)
		}
	}
	return lines
}

func (c Canvas) paint(text string, how out.Colour) string { return c.Palette.Paint(text, how) }

// head says which cluster it is, how it is, and what goes on.
func (c Canvas) head(s State, v *View) []string {
	where := "etcdkit top · " + out.Safe(s.Endpoints[0])
	if more := len(s.Endpoints) - 1; more > 0 {
		where += fmt.Sprintf(" +%d", more)
	}
	parts := []string{c.paint(where, out.Bold)}
	if v.Paused {
		parts = append(parts, c.paint("paused", out.Orange))
	}
	if cl := s.Cluster.Value; cl != nil {
		parts = append(parts, "revision "+grouped(cl.Revision))
	}
	return append([]string{strings.Join(parts, " · ")}, c.state(s)...)
}

// wrapped is a line in as many as it takes, up to mostLines.
func (c Canvas) wrapped(text string, how out.Colour) (lines []string) {
	if c.Width > 0 {
		text = out.Wrap(text, c.Width, 2)
	}
	for line := range strings.SplitSeq(text, "\n") {
		if len(lines) == mostLines {
			lines[mostLines-1] += " …"
			break
		}
		lines = append(lines, line)
	}
	for i, line := range lines {
		lines[i] = c.paint(line, how)
	}
	return lines
}

// mostLines is how many a message takes: the picture has other things to show.
const mostLines = 3

// state says how the cluster is.
func (c Canvas) state(s State) []string {
	var lines []string
	if err := s.Cluster.Err; err != nil {
		lines = append(lines, c.wrapped(fmt.Sprintf("etcd has not answered for %s: %s", age(c.Now.Sub(s.Cluster.Since)), errtext.Text(err)), out.Red)...)
		if s.Cluster.Value != nil {
			lines = append(lines, c.paint("what follows is "+age(c.Now.Sub(s.Cluster.At))+" old", out.Orange))
		}
		return lines
	}
	cl := s.Cluster.Value
	if cl == nil {
		return append(lines, "asking the members …")
	}
	for _, reason := range cl.Reasons() {
		lines = append(lines, c.wrapped(out.Safe(reason), out.Red)...)
	}
	lines = append(lines, goesOn(cl, s.Rates))
	if err := s.Inventory.Err; err != nil && s.Inventory.Value != nil {
		text := fmt.Sprintf("locks and leases are %s old", age(c.Now.Sub(s.Inventory.At)))
		if cl.HasQuorum() {
			text += ": " + errtext.Text(err)
		}
		lines = append(lines, c.wrapped(text, out.Orange)...)
	}
	return lines
}

// goesOn says what the cluster can lose, and what it does.
func goesOn(cl *doctor.Cluster, r Rates) string {
	var parts []string
	switch {
	case !cl.HasQuorum():
	case cl.CanLose == 0:
		parts = append(parts, "can lose no member")
	default:
		parts = append(parts, "can lose "+out.Count(cl.CanLose, "more member"))
	}
	if r.Known {
		parts = append(parts, rate(r.Revisions, "change")+"/s")
	}
	if r.Known && r.Requests >= 0 {
		parts = append(parts, rate(r.Requests, "request")+"/s", rate(r.Events, "event")+"/s")
	}
	return strings.Join(parts, " · ")
}

// members is a table of them.
func (c Canvas) members(s State) []string {
	if s.Cluster.Value == nil {
		return nil
	}
	rows := [][]out.Cell{headings("MEMBER", "ROLE", "VERSION", "RTT", "LAG", "DATABASE", "AT")}
	for i := range s.Cluster.Value.Members {
		m := &s.Cluster.Value.Members[i]
		if !m.Reachable {
			rows = append(rows, []out.Cell{
				{Text: out.Safe(m.Label())}, {Text: "-"}, {Text: "-"}, {Text: "-", Right: true}, {Text: "-", Right: true}, {Text: "-"},
				{Text: out.Safe(m.Problem), Colour: out.Red},
			})
			continue
		}
		colour := out.Plain
		if m.Role == doctor.Leader {
			colour = out.Bold
		}
		rows = append(rows, []out.Cell{
			{Text: out.Safe(m.Label()), Colour: colour}, {Text: roleText(m), Colour: colour}, {Text: out.Safe(m.Version)},
			{Text: milliseconds(m.RoundTrip), Right: true}, {Text: fmt.Sprint(m.Lag), Right: true},
			{Text: database(m)}, {Text: out.Safe(m.Endpoint)},
		})
	}
	return c.table(rows)
}

func roleText(m *doctor.Member) string {
	if m.Role == doctor.Unknown {
		return "no leader"
	}
	return string(m.Role)
}

func database(m *doctor.Member) string {
	text := out.Bytes(m.DBSize)
	if m.Quota > 0 {
		text += " of " + out.Bytes(m.Quota)
	}
	return text
}

// name is the name of a row, which leaves room for what stands beside it.
func (c Canvas) name(text string) out.Cell {
	text = out.Safe(text)
	if c.Width > 0 {
		text = out.Clip(text, max(2*c.Width/5, 12))
	}
	return out.Cell{Text: text}
}

func headings(texts ...string) (row []out.Cell) {
	for _, t := range texts {
		row = append(row, out.Cell{Text: t, Colour: out.Faint})
	}
	return row
}

func (c Canvas) table(rows [][]out.Cell) []string {
	return strings.Split(strings.TrimSuffix(c.Palette.Fit(rows, c.Width), "\n"), "\n")
}

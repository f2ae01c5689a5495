package out

import (
	"context"
	"log/slog"
	"strings"
	"time"
)

// Logger logs to stderr for people, from a level on: the time, a member's name if the record has one, and the
// message. On a terminal long lines are wrapped.
func (p *Printer) Logger(least slog.Level) *slog.Logger {
	l := &lines{to: p, least: least}
	if f := terminal(p.stderr); f != nil {
		columns, _ := size(f)
		l.width, l.palette = min(columns, widest), palette()
	}
	return slog.New(l)
}

// lines is a slog.Handler.
type lines struct {
	to      *Printer
	width   int // 0: as long as they are
	palette Palette
	least   slog.Level
	member  string
}

func (l *lines) Enabled(_ context.Context, level slog.Level) bool { return level >= l.least }
func (l *lines) WithGroup(string) slog.Handler                    { return l }

func (l *lines) WithAttrs(attrs []slog.Attr) slog.Handler {
	next := *l
	for _, a := range attrs {
		next.note(a)
	}
	return &next
}

func (l *lines) note(a slog.Attr) {
	if a.Key == "member" {
		l.member = a.Value.String() + "  "
	}
}

func (l *lines) Handle(_ context.Context, r slog.Record) error {
	line := *l
	r.Attrs(func(a slog.Attr) bool { line.note(a); return true })
	at := r.Time.Format(time.TimeOnly)
	text := at + "  " + line.member + r.Message
	if l.width > 0 {
		text = Wrap(text, l.width, len(at)+len("  "))
	}
	if line.member != "" { // etcd's own lines matter less than what was done to the cluster
		text = paintLines(l.palette, text, Faint)
	} else {
		text = l.palette.Paint(at, Faint) + Alarm(l.palette, strings.TrimPrefix(text, at))
	}
	l.to.Talkf("%s", text)
	return nil
}

func paintLines(p Palette, text string, how Colour) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = p.Paint(line, how)
	}
	return strings.Join(lines, "\n")
}

// Alarm paints what needs an answer in a line about a cluster.
func Alarm(p Palette, line string) string {
	for _, alarm := range []string{"QUORUM LOST", "NO LEADER"} {
		line = strings.Replace(line, alarm, p.Paint(alarm, Red), 1)
	}
	return line
}

package report

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// Format of a report on stdout.
type Format string

const (
	Table    Format = "table"
	Markdown Format = "markdown"
	JSON     Format = "json"
)

// Formats are all there are.
func Formats() []Format { return []Format{Table, Markdown, JSON} }

// Printer writes a report while it grows: each table as soon as it is complete, JSON as a whole at
// the end.
type Printer struct {
	w      io.Writer
	format Format
	err    error
}

// NewPrinter writes to w.
func NewPrinter(w io.Writer, f Format) *Printer { return &Printer{w: w, format: f} }

func (p *Printer) printf(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, args...)
	}
}

// Begin writes what is known before the first measurement.
func (p *Printer) Begin(r *Report) {
	switch p.format {
	case Table:
		p.printf("%s\n%s\n", r.Title, r.circumstances())
	case Markdown:
		p.printf("# %s\n\n%s\n", r.Title, r.circumstances())
	}
}

// Group writes a table.
func (p *Printer) Group(g *Group) {
	switch p.format {
	case Table:
		p.printf("\n%s", g.Text())
	case Markdown:
		p.printf("\n%s", g.Markdown())
	}
}

// End completes the report. It returns the first error of all writing.
func (p *Printer) End(r *Report) error {
	if p.format == JSON && p.err == nil {
		enc := json.NewEncoder(p.w)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		p.err = enc.Encode(r)
	}
	if p.err != nil {
		return fmt.Errorf("report: write: %w", p.err)
	}
	return nil
}

// circumstances are the date, the machine and the versions, in a line.
func (r *Report) circumstances() string {
	parts := []string{
		r.Date.Format("2006-01-02 15:04 UTC"),
		fmt.Sprintf("%d cores, %s/%s, %s", r.Machine.Cores, r.Machine.OS, r.Machine.Arch, r.Machine.Go),
	}
	for _, m := range slices.Sorted(maps.Keys(r.Versions)) {
		parts = append(parts, strings.TrimPrefix(m, "github.com/")+" "+r.Versions[m])
	}
	if r.Quick {
		parts = append(parts, "QUICK: too short for figures")
	}
	return strings.Join(parts, " · ")
}

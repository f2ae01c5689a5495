package report

import (
	"runtime"
	"runtime/debug"
	"time"
)

// Report is a run.
type Report struct {
	Title    string            `json:"title"`
	Date     time.Time         `json:"date"`
	Seconds  float64           `json:"seconds"` // that it took
	Quick    bool              `json:"quick"`   // a smoke run, too short for figures
	Machine  Machine           `json:"machine"`
	Versions map[string]string `json:"versions"`
	Groups   []*Group          `json:"groups"`
}

// Machine is where it ran.
type Machine struct {
	OS    string `json:"goos"`
	Arch  string `json:"goarch"`
	Cores int    `json:"cores"`
	Go    string `json:"go"`
}

// Group is one table.
type Group struct {
	Name          string         `json:"name"`
	Title         string         `json:"title"`
	Columns       []string       `json:"columns"` // but the first, the rows' names
	Rows          []Row          `json:"rows"`
	Notes         []string       `json:"notes,omitempty"`
	Distributions []Distribution `json:"distributions,omitempty"`
}

// Row is one line of a table.
type Row struct {
	Name  string `json:"name"`
	Cells []Cell `json:"cells"`
}

// New starts a report. modules are paths whose versions it names, of those that this program was
// built from.
func New(title string, quick bool, modules ...string) *Report {
	r := &Report{
		Title: title, Date: time.Now().UTC(), Quick: quick, Versions: make(map[string]string),
		Machine: Machine{runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version()},
	}
	info, ok := debug.ReadBuildInfo()
	for _, m := range modules {
		r.Versions[m] = "unknown"
		if ok {
			r.Versions[m] = version(info, m)
		}
	}
	return r
}

func version(info *debug.BuildInfo, module string) string {
	for _, dep := range info.Deps {
		if dep.Path != module {
			continue
		}
		if dep.Replace != nil {
			return "this tree"
		}
		return dep.Version
	}
	return "unknown"
}

// Add adds a row.
func (g *Group) Add(name string, cells ...Cell) { g.Rows = append(g.Rows, Row{name, cells}) }

// Note adds a sentence below the table.
func (g *Group) Note(text string) { g.Notes = append(g.Notes, text) }

// Package tour is lessons about etcd and etcdkit: what each shows, the programs that show it, and checks
// of what they did.
//
//	programs, err := tour.StartBuild(ctx, tour.Programs(lessons)) // compiles in the background
//	defer programs.Close()
//	report, err := tour.Run(ctx, &tour.Options{Place: p, Programs: programs}, lessons, tell)
//
// A lesson tells what happens as events, which a terminal prints and a page in a browser can show, too.
package tour

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/place"
)

// Lesson is one stop of the tour.
type Lesson struct {
	ID       string   `json:"id"`
	Title    string   `json:"title"`
	Shows    string   `json:"shows"`              // in one or two sentences
	Programs []string `json:"programs,omitempty"` // the folders below examples/ that it runs

	// Breaks says why only a cluster of the tour's own has this lesson; "" if any has it.
	Breaks string `json:"breaks,omitempty"`

	walk    func(context.Context, *stage) error
	columns []string // those to show of a table that is too wide
}

// Programs are those of all the lessons, each once.
func Programs(lessons []*Lesson) []string {
	var all []string
	for _, l := range lessons {
		for _, p := range l.Programs {
			if !slices.Contains(all, p) {
				all = append(all, p)
			}
		}
	}
	return all
}

// Kind of an Event.
type Kind string

const (
	Begins  Kind = "begins"  // a lesson
	Skipped Kind = "skipped" // a lesson; Text says why
	Command Kind = "command" // Text is run, as it would be typed
	Does    Kind = "does"    // Text is what the tour itself does
	Line    Kind = "line"    // Text is a line that a program printed
	Waiting Kind = "waiting" // for Text, which takes its time
	Waited  Kind = "waited"  // that is over
	Checked Kind = "checked" // Text was expected; OK says whether it was so
)

// Event is something that happens in a lesson.
type Event struct {
	Kind   Kind    `json:"kind"`
	Lesson *Lesson `json:"lesson"`
	Text   string  `json:"text,omitempty"`
	OK     bool    `json:"ok,omitempty"`

	// Program is the one that printed a Line; "" as long as the lesson has run no two at once.
	Program string `json:"program,omitempty"`
}

// Options of Run.
type Options struct {
	Place    *place.Place
	Programs *Build
	Etcdctl  []string // the command that is etcdctl
	Called   string   // how Etcdctl is called by a person
	Environ  []string // of the programs, as it is without Place

	// Data has etcdctl print data instead of tables, and leaves out what is drawn.
	Data bool
}

// Report is what the lessons have shown.
type Report struct {
	Cluster string    `json:"cluster"`
	Steps   []*Result `json:"steps"`
	OK      bool      `json:"ok"`
	Took    Seconds   `json:"took_s"`
}

// Checks counts the checks, and those that failed.
func (r *Report) Checks() (all, failed int) {
	for _, s := range r.Steps {
		for _, c := range s.Checks {
			all++
			if !c.OK {
				failed++
			}
		}
	}
	return all, failed
}

// Result is that of one lesson.
type Result struct {
	Name     string   `json:"name"`
	Shows    string   `json:"shows"`
	Skipped  string   `json:"skipped,omitempty"` // why
	Commands []string `json:"commands"`
	Output   []string `json:"output"` // lines
	// Data is what a step that asks etcdctl for a table was told, as etcdctl writes it with -w json.
	Data   json.RawMessage `json:"data,omitempty"`
	Checks []Check         `json:"checks"`
	Took   Seconds         `json:"took_s"`
}

// Check is an expectation and whether it held.
type Check struct {
	Expected string `json:"expected"`
	OK       bool   `json:"ok"`
}

// Seconds are rounded for reading.
type Seconds float64

func since(begin time.Time) Seconds {
	return Seconds(float64(time.Since(begin).Milliseconds()) / 1000)
}

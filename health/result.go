package health

import (
	"strings"
	"time"
	"unicode"

	"github.com/etcdkit/etcdkit/internal/quote"
)

// Status is the status of a check.
type Status string

// From good to bad.
const (
	Passing  Status = "passing"
	Warning  Status = "warning"
	Critical Status = "critical"
)

// rank orders statuses; an unknown one is as bad as Critical.
func (s Status) rank() int {
	switch s {
	case Passing:
		return 0
	case Warning:
		return 1
	}
	return 2
}

// MaxOutput is the greatest length of an Output, in bytes.
const MaxOutput = 256

// Result is the status of a check. The record of an instance in etcd has it in this form.
type Result struct {
	Name   string `json:"name"`
	Status Status `json:"status"`
	// Output is that of the last probe: one line of UTF-8, which ends with … if it was cut.
	Output string `json:"output,omitempty"`
	// At is when Status last changed, by this machine's clock.
	At time.Time `json:"at,omitzero"`
}

// Worst returns the first of the results with the worst status. Without results it is Passing.
func Worst(results []Result) Result {
	worst := Result{Status: Passing}
	for n, r := range results {
		if n == 0 || r.Status.rank() > worst.Status.rank() {
			worst = r
		}
	}
	return worst
}

// line returns text in the form of an Output.
func line(text string) string {
	const more = "…"
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r // what is not UTF-8 comes as U+FFFD
	}, text)
	text = strings.Join(strings.Fields(text), " ")
	if len(text) <= MaxOutput {
		return text
	}
	return quote.Head(text, MaxOutput-len(more)) + more
}

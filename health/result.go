package health

import (
	"strings"
	"time"
	"unicode"

	"github.com/etcdkit/etcdkit/internal/quote"
)

// Status is what the results of a check amount to.
type Status string

// From good to bad.
const (
	Passing  Status = "passing"
	Warning  Status = "warning"
	Critical Status = "critical"
)

// rank orders them; what is unknown is as bad as can be.
func (s Status) rank() int {
	switch s {
	case Passing:
		return 0
	case Warning:
		return 1
	}
	return 2
}

// MaxOutput is the length of an Output at most, in bytes.
const MaxOutput = 256

// Result is the status of a check. The record of an instance in etcd has it in this form.
type Result struct {
	Name   string `json:"name"`
	Status Status `json:"status"`
	// Output is what the last probe said: one line of UTF-8, which ends in … where more was said.
	Output string `json:"output,omitempty"`
	// At is since when Status is what it is, by this machine's clock.
	At time.Time `json:"at,omitzero"`
}

// Worst is the first of the results with the worst status; of none, it is Passing.
func Worst(results []Result) Result {
	worst := Result{Status: Passing}
	for n, r := range results {
		if n == 0 || r.Status.rank() > worst.Status.rank() {
			worst = r
		}
	}
	return worst
}

// line is text as an Output has it.
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

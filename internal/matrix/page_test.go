package matrix_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const page = "../../docs/reliability.md"

// text is a duration as people write it.
func text(d time.Duration) string {
	switch {
	case d == 0:
		return "0"
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 2*time.Minute && d%time.Minute != 0 || d == time.Minute:
		return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.1f", d.Seconds()), "0"), ".") + " s"
	}
	return fmt.Sprintf("%.0f min", d.Minutes())
}

// brief is the promise in a cell of the matrix.
func (p promise) brief() string {
	if p.not != "" {
		return "—"
	}
	within := func(word string) string {
		if p.within == 0 {
			return word
		}
		return word + " ≤ " + text(p.within)
	}
	switch p.outcome {
	case ends:
		return within("told")
	case returns:
		return within("returns")
	case quiet:
		if p.rate < 2 && strings.HasPrefix(p.note, "for each") {
			return fmt.Sprintf("≤ %g/s each", p.rate)
		}
		return fmt.Sprintf("≤ %g/s", p.rate)
	case closes:
		if p.within == 0 {
			return "nothing left"
		}
		return "≤ " + text(p.within)
	case opens:
		return within("opens")
	}
	return within(string(p.outcome))
}

// full is the promise in words.
func (p promise) full() string {
	if p.not != "" {
		return "does not apply: " + p.not + "."
	}
	var b strings.Builder
	within := ""
	if p.within > 0 {
		within = " within " + text(p.within)
	}
	err := ""
	if p.err != nil {
		err = " with `" + p.err.name + "`"
	}
	switch p.outcome {
	case ends:
		b.WriteString("is told" + within + err)
	case stays:
		b.WriteString("works on")
		if p.err != nil {
			b.WriteString("; what is refused ends" + err)
		}
	case back:
		b.WriteString("works again" + within)
	case shows:
		b.WriteString("shows it" + within)
	case returns:
		b.WriteString("calls return" + within + err)
	case closes:
		b.WriteString("is closed" + within)
	case quiet:
		fmt.Fprintf(&b, "at most %g requests a second", p.rate)
	case opens:
		b.WriteString("opens" + within + ", and what is open works on")
	}
	if p.note != "" {
		b.WriteString(" (" + p.note + ")")
	}
	if p.left != "" {
		b.WriteString("; in etcd afterwards: " + string(p.left))
	}
	return b.String() + "."
}

func render() []byte {
	var b bytes.Buffer
	b.WriteString(head)
	for _, part := range parts() {
		fmt.Fprintf(&b, "\n### %s\n\n|", part.name)
		for _, s := range part.columns {
			fmt.Fprintf(&b, " | [%s](#%s)", s.short, anchor(s.name))
		}
		b.WriteString(" |\n|---|" + strings.Repeat("---|", len(part.columns)) + "\n")
		for _, r := range rows() {
			fmt.Fprintf(&b, "| %s", r.name)
			for _, s := range part.columns {
				p, _ := s.promised(r.name)
				b.WriteString(" | " + p.brief())
			}
			b.WriteString(" |\n")
		}
	}
	b.WriteString(between)
	for _, part := range parts() {
		for _, s := range part.columns {
			fmt.Fprintf(&b, "\n### %s\n\n%s\n\n", s.name, s.how)
			for _, p := range s.promises {
				fmt.Fprintf(&b, "- %s: %s\n", strings.Join(grouped(p.rows), ", "), p.full())
			}
			fmt.Fprintf(&b, "\n    go test ./internal/matrix -run '^%s$'\n", s.test)
			if s.long != "" {
				fmt.Fprintf(&b, "    go test -tags long ./internal/matrix -run '^%s$'   # %s\n", s.test, s.long)
			}
		}
	}
	b.WriteString(tail)
	return b.Bytes()
}

// grouped names rows shorter, where all of a kind are among them.
func grouped(names []string) []string {
	if len(names) == len(every) {
		return []string{"**every handle**"}
	}
	var out []string
	for _, g := range []struct {
		name string
		rows []string
	}{{"all holds of locks", holds}, {"all waiters for locks", waiters}} {
		if !slices.ContainsFunc(g.rows, func(r string) bool { return !slices.Contains(names, r) }) {
			out = append(out, "**"+g.name+"**")
			names = slices.DeleteFunc(slices.Clone(names), func(r string) bool { return slices.Contains(g.rows, r) })
		}
	}
	for _, n := range names {
		out = append(out, "**"+n+"**")
	}
	return out
}

func anchor(name string) string {
	keep := func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-', r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		}
		return -1
	}
	return strings.Map(keep, strings.ToLower(name))
}

const head = `# Reliability: every handle in every situation

This page is written from the table that the tests of ` + "`internal/matrix`" + ` run. Each cell is a test against real
etcd, and the test compares what happens with what the cell says. A promise that is not kept is a test that fails.

How to read a cell:

| cell | meaning |
|---|---|
| stays | the handle works on; its user notices nothing, or slower answers |
| told ≤ T | the handle ends and says so within T: Done is closed, or the waiting call returns; of a registration State().Err says so, of a resolver the next RPC |
| back ≤ T | the handle works again by itself within T after the situation is over |
| shows ≤ T | the handle shows the change within T |
| opens ≤ T | a new handle opens within T, and what is open works on |
| returns ≤ T | its calls return within T after the context ends |
| returns | its calls return with the error of the section |
| ≤ T | Close returns within T |
| ≤ N/s | all handles together make no more than N requests a second |
| ≤ N/s each | each of them makes no more than N requests a second |
| nothing left | no goroutine, lease or key |
| — | does not apply; the section of the column says why |

What is left in etcd afterwards is in the section of the column. "Nothing" is reached within 2 s; what goes with its
lease is gone 4 s after the lease's TTL at the latest, as etcd, when it is busy, looks again after 3 s.

## The matrix
`

const between = `
## The situations
`

const tail = `
## Run it

    go test ./internal/matrix              # every cell, under two minutes
    make long                              # with 1,000 repetitions, and a follower that is silent for longer
    make crowds                            # with crowds of 2,000
    go test -race ./internal/matrix        # every cell; promised times are not compared there

## What is not promised

- A process that is stopped cannot be told before it goes on. What it does in its first moments must be fenced:
  see "Tokens and guards" in [locks.md](locks.md).
- Times are those of a machine that has the processor time it needs. The tests compare with these times; Close in an
  outage may take 0.2 s longer there, and staleness 0.5 s. Under the race detector they only ask that it happens.
- Deadlines of leases hold as long as the clocks of this machine and of the members run at the same rate.
- A hold or term that is younger than 1 s is told of a deleted key by its next write, by its end, or when it is 1 s old.
- When etcd loses its data, or is restored from an older backup, locks and terms are lost with it. A mirror notices.
- Calls that ask etcd once (` + "`election.Leader`, `discovery.List`, `discovery.Services`, `lock.Entries`, `lock.List`" + `) can wait for a
  silent member until their context ends, or for 15 s.
- A leader of etcd that stood still for longer than a TTL can revoke live leases when it goes on
  ([etcd#15247](https://github.com/etcd-io/etcd/issues/15247)). Holds and terms on them are told as of a revoked lease;
  registrations come back.
- "One follower is silent" is one of three members. When a majority is silent, etcd cannot serve: see "etcd is paused".
`

func TestEveryCellHasAPromise(t *testing.T) {
	names := make(map[string]bool)
	for _, r := range rows() {
		names[r.name] = true
	}
	if len(names) != len(every) {
		t.Errorf("%d rows have drivers, %d names are used in the table", len(names), len(every))
	}
	for _, part := range parts() {
		for _, s := range part.columns {
			for name := range names {
				p, n := s.promised(name)
				if n != 1 {
					t.Errorf("%s × %s: %d promises, want one", name, s.short, n)
				}
				if (p.outcome == "") == (p.not == "") {
					t.Errorf("%s × %s: want an outcome, or a reason why it does not apply", name, s.short)
				}
			}
			for _, p := range s.promises {
				for _, name := range p.rows {
					if !names[name] {
						t.Errorf("%s: there is no row %q", s.short, name)
					}
				}
			}
		}
	}
}

func TestEveryColumnHasItsTest(t *testing.T) {
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(b)
	}
	for _, part := range parts() {
		for _, s := range part.columns {
			if !strings.Contains(all.String(), "\nfunc "+s.test+"(t *testing.T) {") {
				t.Errorf("%s: there is no test %s", s.short, s.test)
			}
		}
	}
}

func TestThePageSaysWhatTheTableSays(t *testing.T) {
	want := render()
	if *update {
		if err := os.WriteFile(page, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("docs/reliability.md is not what the table says: go test ./internal/matrix -run ThePage -update")
	}
}

package cli

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/out"
	"github.com/etcdkit/etcdkit/internal/quote"
	"github.com/etcdkit/etcdkit/internal/wholefile"
	"github.com/etcdkit/etcdkit/keys"
)

// countsJSON are the counts of an import or a copy as commands print them.
type countsJSON struct {
	DryRun  bool  `json:"dry_run"`
	Read    int64 `json:"read"`
	Created int64 `json:"created"`
	Updated int64 `json:"updated"`
	Deleted int64 `json:"deleted"`
	Same    int64 `json:"same"`
	Kept    int64 `json:"kept"`
	Skipped int64 `json:"skipped"`
	Leases  int64 `json:"leases"`
}

func toCountsJSON(c keys.Counts, dry bool) countsJSON {
	return countsJSON{dry, c.Read, c.Created, c.Updated, c.Deleted, c.Same, c.Kept, c.Skipped, c.Leases}
}

// countsText is the same for people: what is 0 is left out.
func countsText(c keys.Counts) string {
	var parts []string
	for _, part := range []struct {
		n    int64
		what string
	}{{c.Created, "created"}, {c.Updated, "updated"}, {c.Deleted, "deleted"}, {c.Same, "the same"}, {c.Kept, "different and kept"}, {c.Skipped, "skipped"}} {
		if part.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", part.n, part.what))
		}
	}
	text := strings.Join(parts, ", ")
	if text == "" {
		text = "nothing to do"
	}
	if c.Leases > 0 {
		text += fmt.Sprintf("; %s", out.Count(int(c.Leases), "new lease"))
	}
	return text
}

// printCounts prints what an import or a copy has done, or with dry would do.
func (a *app) printCounts(format out.Format, what string, c keys.Counts, dry bool) error {
	if format.Is(out.Table) {
		if dry {
			what += " (dry run, nothing was written)"
		}
		return a.out.Resultf("%s: %s", what, countsText(c))
	}
	return a.out.Record(format, nil, out.Record{JSON: toCountsJSON(c, dry)})
}

// mover shows how an import or a copy comes along.
type mover struct {
	a       *app
	verb    string // "importing"
	line    *out.Progress
	waiting bool
	follows bool

	kept []string // the first keys that were kept, although they are different
	list bool     // print each key
}

func (a *app) newMover(verb string) *mover { return &mover{a: a, verb: verb, line: a.out.Progress()} }

// fewKeys are named of many.
const fewKeys = 3

// each records what was done with a key.
func (m *mover) each(key string, action keys.Action) {
	if action == keys.ActionKeep && len(m.kept) < fewKeys {
		m.kept = append(m.kept, quote.Text(key))
	}
	if m.list && action != keys.ActionSame {
		_ = m.a.out.Printf("%s %s\n", action, out.Safe(key)) // the summary tells of a failure
	}
}

// wait says once why nothing goes on, and once that it does.
func (m *mover) wait(why error) {
	switch {
	case why != nil && !m.waiting:
		m.a.out.Talkf("etcdkit: waiting: %s", m.a.oneLine(why))
	case why == nil && m.waiting:
		m.a.out.Talkf("etcdkit: it goes on")
	}
	m.waiting = why != nil
}

// progress shows how far it has come.
func (m *mover) progress(p keys.Progress) {
	m.wait(p.Waiting)
	if p.Following && !m.follows {
		m.follows = true
		m.a.say("copied: %s; following from revision %d on; Ctrl-C ends it", countsText(p.Counts), p.Revision)
	}
	of := ""
	if p.Total > 0 {
		of = fmt.Sprintf(" of %d (%d %%)", p.Total, 100*p.Read/p.Total)
	}
	if p.Following {
		m.line.Setf("following, at revision %d: %s", p.Revision, countsText(p.Counts))
	} else {
		m.line.Setf("%s %d%s: %s", m.verb, p.Read, of, countsText(p.Counts))
	}
}

// keptError is the error for keys that were kept.
func (m *mover) keptError(n int64) error {
	if n == 0 {
		return nil
	}
	more := ""
	if rest := n - int64(len(m.kept)); rest > 0 {
		more = fmt.Sprintf(" and %d more", rest)
	}
	return notFoundf("%s, with another value or lease, and kept: %s%s; --overwrite writes over them", plural(n, "key exists", "keys exist"), strings.Join(m.kept, ", "), more)
}

func plural(n int64, one, many string) string {
	if n == 1 {
		many = one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// abandonedAfter is when an unfinished file of an earlier run counts as left behind.
const abandonedAfter = time.Hour

// createFile begins a file that gets its name when it is whole. name may be that of a file, which is replaced.
func createFile(what, name string) (*wholefile.File, error) {
	if err := checkDirectory(what, name); err != nil {
		return nil, err
	}
	if info, err := os.Lstat(name); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s %s: is not a regular file: name another one", what, name)
	}
	wholefile.RemoveUnfinished(name, abandonedAfter)
	return wholefile.Create(name)
}

// transferError gives an error of an import or a copy its exit code.
func transferError(err error) error {
	if errors.Is(err, keys.ErrInvalid) || errors.Is(err, keys.ErrIncomplete) {
		return err // of the file: the command line was right
	}
	return keysError(err)
}

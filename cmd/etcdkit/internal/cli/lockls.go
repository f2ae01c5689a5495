package cli

import (
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/out"
	"github.com/etcdkit/etcdkit/inventory"
	"github.com/etcdkit/etcdkit/keys"
	"github.com/etcdkit/etcdkit/lock"
)

func newLockLs(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Short: "the locks that are held, with their holders",
		Long: paragraphs(
			"Lists the locks whose names begin with PREFIX, everywhere if there is none: mutexes, read-write locks and semaphores, those of clientv3 and 'etcdctl lock' included. A lock that is free has no key, and is not listed.",
			"It asks the leases for their keys: the entries of a lock are on leases, and plain keys cost nothing."),
		Example: "  etcdkit lock ls\n  etcdkit lock ls jobs/\n  etcdkit lock ls -o template='{{.name}} {{.waiting}}'",
	}
	columns := []string{"NAME", "MODE", "HOLDERS", "WAITING", "AGE", "HELD BY"}
	return a.listsCoordinating(cmd, "no lock is held", columns, func(inv *inventory.Inventory) (records []out.Record) {
		for _, q := range inv.Locks {
			l := newLockJSON(q)
			first := q.Entries[0] // the oldest holds it
			records = append(records, out.Record{
				Row: []out.Cell{
					{Text: out.Safe(q.Name)}, {Text: string(first.Mode)}, countCell(l.Holders), countCell(l.Waiting), ageCell(first.Acquired, first.Since), {Text: processOf(first)},
				},
				Value: []byte(q.Name),
				JSON:  l,
			})
		}
		return records
	})
}

// lockJSON is a lock as the commands print it.
type lockJSON struct {
	Name     keys.Bytes  `json:"name"`
	Holders  int         `json:"holders"` // of entries
	Waiting  int         `json:"waiting"`
	Count    int         `json:"count"`
	Revision int64       `json:"revision"`
	Entries  []entryJSON `json:"entries"`
}

// entryJSON is an entry of a lock, with all fields.
type entryJSON struct {
	Key      keys.Bytes `json:"key"`
	Status   string     `json:"status"`
	Position int        `json:"position"`
	Mode     string     `json:"mode"`
	Weight   int        `json:"weight"`
	Size     int        `json:"size"`
	Token    int64      `json:"token"`
	Lease    string     `json:"lease"`
	Foreign  bool       `json:"foreign"`
	Host     string     `json:"host"`
	PID      int        `json:"pid"`
	Command  string     `json:"command"`
	Data     string     `json:"data"`
	Since    *time.Time `json:"since"` // null: not known
	Acquired *time.Time `json:"acquired"`
}

func newLockJSON(q *lock.Queue) lockJSON {
	l := lockJSON{Name: keys.Bytes(q.Name), Holders: holders(q), Count: q.Count, Revision: q.Revision, Entries: []entryJSON{}}
	for _, e := range q.Entries {
		l.Entries = append(l.Entries, entryJSON{
			Key: keys.Bytes(e.Key), Status: string(e.Status), Position: e.Position, Mode: string(e.Mode), Weight: e.Weight, Size: e.Size, Token: e.Token,
			Lease: out.Hex(e.Lease), Foreign: e.Foreign, Host: e.Host, PID: e.PID, Command: e.Command, Data: e.Data,
			Since: known(e.Since), Acquired: known(e.Acquired),
		})
	}
	l.Waiting = q.Count - l.Holders
	return l
}

// holders counts the entries that hold a lock.
func holders(q *lock.Queue) int {
	n := 0
	for _, e := range q.Entries {
		if e.Status == lock.Holds {
			n++
		}
	}
	return n
}

func countCell(n int) out.Cell { return out.Cell{Text: strconv.Itoa(n), Right: true} }

// known is a time, or nil for one that is not known.
func known(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// ageCell is how long the first time that is known is ago.
func ageCell(times ...time.Time) out.Cell {
	for _, t := range times {
		if !t.IsZero() {
			return out.Cell{Text: roundAge(time.Since(t)), Right: true}
		}
	}
	return out.Cell{Text: "-", Right: true}
}

// processOf is the process of an entry, in a table.
func processOf(e lock.Entry) string {
	if e.PID == 0 {
		return "another client" // clientv3's and etcdctl's locks do not say
	}
	return e.Process()
}

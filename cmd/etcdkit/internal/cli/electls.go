package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/out"
	"github.com/etcdkit/etcdkit/election"
	"github.com/etcdkit/etcdkit/inventory"
	"github.com/etcdkit/etcdkit/keys"
)

func newElectLs(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Short: "the elections that have a leader",
		Long: paragraphs(
			"Lists the elections whose names begin with PREFIX, everywhere if there is none, with their leaders: those of clientv3 and 'etcdctl elect' included. An election without a candidate has no key, and is not listed.",
			"It asks the leases for their keys: plain keys cost nothing."),
		Example: "  etcdkit elect ls\n  etcdkit elect ls jobs/\n  etcdkit elect ls -o json",
	}
	columns := []string{"NAME", "WAITING", "TOKEN", "LEADER"}
	return a.listsCoordinating(cmd, "no election has a leader", columns, func(inv *inventory.Inventory) (records []out.Record) {
		for _, q := range inv.Elections {
			leader := q.Candidates[0]
			records = append(records, out.Record{
				Row:   []out.Cell{{Text: out.Safe(q.Name)}, countCell(q.Count - 1), {Text: fmt.Sprint(leader.Token), Right: true}, {Text: out.Safe(leader.Value)}},
				Value: []byte(q.Name),
				JSON:  newElectionJSON(q),
			})
		}
		return records
	})
}

// electionJSON is an election as the commands print it.
type electionJSON struct {
	Name       keys.Bytes      `json:"name"`
	Waiting    int             `json:"waiting"`
	Count      int             `json:"count"`
	Revision   int64           `json:"revision"`
	Candidates []candidateJSON `json:"candidates"`
}

type candidateJSON struct {
	Key       keys.Bytes `json:"key"`
	Status    string     `json:"status"`
	Position  int        `json:"position"`
	Value     keys.Bytes `json:"value"`
	ValueSize int        `json:"value_size"` // of which value has the beginning
	Token     int64      `json:"token"`
	Lease     string     `json:"lease"`
	Foreign   bool       `json:"foreign"`
}

func newElectionJSON(q *election.Queue) electionJSON {
	e := electionJSON{Name: keys.Bytes(q.Name), Waiting: q.Count - 1, Count: q.Count, Revision: q.Revision, Candidates: []candidateJSON{}}
	for _, c := range q.Candidates {
		e.Candidates = append(e.Candidates, candidateJSON{
			keys.Bytes(c.Key), string(c.Status), c.Position, keys.Bytes(c.Value), c.ValueSize, c.Token, out.Hex(c.Lease), c.Foreign,
		})
	}
	return e
}

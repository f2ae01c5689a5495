package election

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/queue"
	"github.com/etcdkit/etcdkit/internal/quote"
)

// Status tells whether a candidate leads.
type Status string

// Statuses of a candidate.
const (
	Leads Status = "leads"
	Waits Status = "waits"
)

// Candidate is one place in an election, as etcd has it: the leader's, or that of one that waits.
// Only its value says which process it is.
type Candidate struct {
	Name     string `json:"name"` // of the election
	Key      string `json:"key"`
	Status   Status `json:"status"`
	Position int    `json:"position"` // 0 is the oldest, which leads
	// Value is what it campaigned with, or proclaimed since: the first 8,192 bytes, of ValueSize. It
	// may contain anything: print it with %q, or use String.
	Value     string `json:"value"`
	ValueSize int    `json:"value_size"`
	Token     int64  `json:"token"`
	// Lease ends the candidacy; 0 says that none does, and that it stays until its key is deleted.
	Lease clientv3.LeaseID `json:"-"` // in JSON "lease", in hexadecimal digits, as etcdctl prints it
	// Foreign says that it is not a candidate of this package, but clientv3's, etcdctl's, or that
	// of another client that put a key there.
	Foreign bool `json:"foreign,omitempty"`
}

// MarshalJSON adds the lease.
func (c Candidate) MarshalJSON() ([]byte, error) {
	type plain Candidate
	return json.Marshal(struct {
		plain
		Lease string `json:"lease,omitempty"`
	}{plain(c), queue.LeaseText(c.Lease)})
}

// String is one line for people.
func (c Candidate) String() string {
	return fmt.Sprintf("%s (key %s, token %d)", quote.Text(c.Value), quote.Text(c.Key), c.Token)
}

// Queue are the leader and the other candidates of one election, at a revision.
type Queue struct {
	Name       string      `json:"name"`
	Candidates []Candidate `json:"candidates"` // the leader, and the others in the order in which they come
	Count      int         `json:"count"`      // of all there are, also beyond ListOptions.Limit
	Revision   int64       `json:"revision"`
}

// ListOptions of Candidates, List and Parse. nil and the zero value are the defaults.
type ListOptions struct {
	// Limit is how many candidates of one election are read, or kept: the oldest ones. Default 1,000.
	Limit int
}

func (o *ListOptions) limit() int {
	if o == nil {
		return 0
	}
	return o.Limit
}

// Candidates asks etcd for the leader and the waiting candidates of the election of a name, with one
// request, linearizably. Every key below the name is a candidate: also those of clientv3's Election and
// "etcdctl elect". An election without candidates has none.
func Candidates(ctx context.Context, cli *clientv3.Client, name string, opts *ListOptions) (*Queue, error) {
	l, err := ofElections.Read(ctx, cli, name, opts.limit())
	if err != nil {
		return nil, err
	}
	return newQueue(l), nil
}

// List yields the elections below a prefix that have a leader, with all their candidates, in the
// order of their names, but for those whose names begin with another one's and a slash, which come
// before it. It reads all keys below the prefix in pages of about a megabyte: give a prefix where few
// other keys are. The elections are as they were at one revision, unless that is compacted away
// meanwhile.
//
// Our candidates are known by their keys; one of clientv3's Election or "etcdctl elect" by its last
// segment, the id of its own lease, and a value: one with an empty value is a lock's. An election of
// whose candidates none can be known is not listed; Candidates shows it.
//
// It ends by break, or with one final error.
func List(ctx context.Context, cli *clientv3.Client, prefix string, opts *ListOptions) iter.Seq2[*Queue, error] {
	return queue.WalkOf(ctx, ofElections, cli, prefix, opts.limit(), newQueue)
}

// Parse is List for keys that were read already, in whatever way and order: with their values and
// leases, and all keys below each election's name. It sends nothing.
func Parse(kvs []*mvccpb.KeyValue, opts *ListOptions) []*Queue {
	return queue.SortedOf(ofElections, kvs, opts.limit(), newQueue)
}

func newQueue(l *queue.List) *Queue {
	q := &Queue{Name: l.Name, Candidates: make([]Candidate, 0, len(l.Entries)), Count: l.Count, Revision: l.Revision}
	for i, f := range l.Entries {
		c := Candidate{
			Name: l.Name, Key: f.Key, Status: Waits, Position: i, Value: strings.ToValidUTF8(f.Value, "�"), ValueSize: f.ValueSize,
			Token: f.Revision, Lease: f.Lease, Foreign: f.Origin != queue.Candidate,
		}
		if i == 0 {
			c.Status = Leads
		}
		q.Candidates = append(q.Candidates, c)
	}
	return q
}

// leaderAttrs is what the log says of a leader.
func leaderAttrs(_ string, f queue.Found) []any {
	return []any{"leader", quote.Word(f.Value), "key", quote.Word(f.Key), "token", f.Revision}
}

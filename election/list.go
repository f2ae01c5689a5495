package election

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"

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

// Candidate is an entry in an election, as etcd has it: the leader, or a candidate that waits. Only its
// value says which process it is.
type Candidate struct {
	Name     string `json:"name"` // of the election
	Key      string `json:"key"`
	Status   Status `json:"status"`
	Position int    `json:"position"` // 0 is the oldest, which leads
	// Value is what the candidate campaigned with, or proclaimed since: the first 8,192 of ValueSize
	// bytes. It may contain anything, also what is not UTF-8: print it with %q, or use String.
	Value     string `json:"value"`
	ValueSize int    `json:"value_size"`
	Token     int64  `json:"token"`
	// Lease ends the entry; 0 says that none does, and that it stays until its key is deleted.
	Lease clientv3.LeaseID `json:"-"` // in JSON "lease", in hexadecimal digits, as etcdctl prints it
	// Foreign says that the entry is not of this package, but of clientv3, of etcdctl, or of another
	// client that put a key there.
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

// Queue is one election at a revision: the leader and the other candidates.
type Queue struct {
	Name       string      `json:"name"`
	Candidates []Candidate `json:"candidates"` // the leader, and the others in the order in which they come
	Count      int         `json:"count"`      // of all candidates, also beyond ListOptions.Limit
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
// linearizable request, and waits for the answer until ctx is done, or for 15 s. Every key below the name
// is a candidate: also those of clientv3's Election and "etcdctl elect".
func Candidates(ctx context.Context, cli *clientv3.Client, name string, opts *ListOptions) (*Queue, error) {
	l, err := electionType.Read(ctx, cli, name, opts.limit())
	if err != nil {
		return nil, err
	}
	return newQueue(l), nil
}

// List yields the elections below a prefix that have a leader, with all their candidates, in the order
// of their names; but an election whose name begins with another one's and a slash comes before that one.
// List reads all keys below the prefix in pages of about a megabyte: give a prefix with few other keys.
// The elections are as they were at one revision, unless that revision is compacted meanwhile.
//
// List recognises the candidates of this package by their keys. It recognises one of clientv3's Election
// or "etcdctl elect" by its last segment, which is the id of its lease, and by having a value: one with an
// empty value is a lock's. An election without a candidate that is recognised is not listed; Candidates
// shows it.
//
// It ends by break, or with one final error.
func List(ctx context.Context, cli *clientv3.Client, prefix string, opts *ListOptions) iter.Seq2[*Queue, error] {
	return queue.WalkOf(ctx, electionType, cli, prefix, opts.limit(), newQueue)
}

// Parse is List for keys that were read already, in any order. They must have their values and leases,
// and be all keys below each election's name. It sends nothing.
func Parse(kvs []*mvccpb.KeyValue, opts *ListOptions) []*Queue {
	return queue.SortedOf(electionType, kvs, opts.limit(), newQueue)
}

func newQueue(l *queue.List) *Queue {
	q := &Queue{Name: l.Name, Candidates: make([]Candidate, 0, len(l.Entries)), Count: l.Count, Revision: l.Revision}
	for i, f := range l.Entries {
		c := Candidate{
			Name: l.Name, Key: f.Key, Status: Waits, Position: i, Value: f.Value, ValueSize: f.ValueSize,
			Token: f.Revision, Lease: f.Lease, Foreign: f.Origin != queue.Candidate,
		}
		if i == 0 {
			c.Status = Leads
		}
		q.Candidates = append(q.Candidates, c)
	}
	return q
}

// leaderAttrs are the attributes of a leader in the log.
func leaderAttrs(_ string, f queue.Found) []any {
	return []any{"leader", quote.Word(f.Value), "key", quote.Word(f.Key), "token", f.Revision}
}

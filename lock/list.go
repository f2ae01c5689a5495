package lock

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/queue"
	"github.com/etcdkit/etcdkit/internal/quote"
)

// Status tells whether an entry holds its lock.
type Status string

// Statuses of an entry.
const (
	Holds Status = "holds"
	Waits Status = "waits"
)

// Mode tells which other entries an entry shares its lock with.
type Mode string

// Modes of an entry.
const (
	Exclusive Mode = "exclusive" // with no other entry: a Mutex, a writer, and every entry that is Foreign
	Shared    Mode = "shared"    // with other readers of an RWMutex
	Counted   Mode = "counted"   // with others of a Semaphore, as long as they fit
)

// Entry is an entry in the queue of a lock, as etcd has it: a hold, or a call that waits.
//
// Its texts are what other processes wrote, of at most 256 bytes (Data: 1,024) each. They may contain
// anything: print them with %q, or use String.
type Entry struct {
	Name     string `json:"name"` // of the lock
	Key      string `json:"key"`
	Status   Status `json:"status"`
	Position int    `json:"position"` // in the queue: 0 is the oldest
	Mode     Mode   `json:"mode"`
	Weight   int    `json:"weight,omitempty"` // of Size, if it is Counted
	Size     int    `json:"size,omitempty"`
	Token    int64  `json:"token"`
	// Lease ends the entry; 0 says that none does, and that it stays until it is deleted.
	Lease clientv3.LeaseID `json:"-"` // in JSON "lease", in hexadecimal digits, as etcdctl prints it
	// Foreign says that the entry is not of this package, but of clientv3, of etcdctl, or of another
	// client that put a key there. All fields below are then empty.
	Foreign bool   `json:"foreign,omitempty"`
	Host    string `json:"host,omitempty"`
	PID     int    `json:"pid,omitempty"`
	Command string `json:"command,omitempty"`
	// Since is when the entry came into the queue. Acquired is since when it holds the lock; zero if it
	// waits, or has held the lock for less than a second. Both are by the clock of its host.
	Since    time.Time `json:"since,omitzero"`
	Acquired time.Time `json:"acquired,omitzero"`
	Data     string    `json:"data,omitempty"` // Options.Data
}

// MarshalJSON adds the lease.
func (e Entry) MarshalJSON() ([]byte, error) {
	type plain Entry
	return json.Marshal(struct {
		plain
		Lease string `json:"lease,omitempty"`
	}{plain(e), queue.LeaseText(e.Lease)})
}

// Process is what the entry says of its process, for people: "worker (pid 7 on host vm)". What another
// process wrote is quoted, unless it is one harmless word.
func (e Entry) Process() string {
	if e.PID == 0 {
		return fmt.Sprintf("a client that does not identify itself, with the key %s", quote.Text(e.Key))
	}
	return fmt.Sprintf("%s (pid %d on host %s)", quote.Word(e.Command), e.PID, quote.Word(e.Host))
}

// String is one line for people: the process, and since when.
func (e Entry) String() string {
	since := e.Since
	if !e.Acquired.IsZero() {
		since = e.Acquired
	}
	if since.IsZero() {
		return e.Process()
	}
	return e.Process() + " since " + stamp(since)
}

// Queue is the queue of one lock at a revision: its holders and waiters.
type Queue struct {
	Name     string  `json:"name"`
	Entries  []Entry `json:"entries"` // the oldest first
	Count    int     `json:"count"`   // of all entries, also beyond ListOptions.Limit
	Revision int64   `json:"revision"`
}

// ListOptions of Entries, List and Parse. nil and the zero value are the defaults.
type ListOptions struct {
	// Limit is how many entries of one lock are read, or kept: the oldest ones. Default 1,000.
	Limit int
}

func (o *ListOptions) limit() int {
	if o == nil {
		return 0
	}
	return o.Limit
}

// Entries asks etcd for the holders and waiters of the lock of a name, of whatever kind, with one
// linearizable request, and waits for the answer until ctx is done, or for 15 s. Every key below the
// name is an entry, as others wait for it: also the keys of clientv3's Mutex and "etcdctl lock", and one
// that another client put there. A lock without a holder has no entries.
func Entries(ctx context.Context, cli *clientv3.Client, name string, opts *ListOptions) (*Queue, error) {
	l, err := lockType.Read(ctx, cli, name, opts.limit())
	if err != nil {
		return nil, err
	}
	return newQueue(l), nil
}

// List yields the locks below a prefix that are held, with their holders and waiters, in the order of
// their names; but a lock whose name begins with another one's and a slash comes before that one. List
// reads all keys below the prefix in pages of about a megabyte: give a prefix with few other keys. The
// locks are as they were at one revision, unless that revision is compacted meanwhile.
//
// List recognises the locks of this package by their entries. It recognises an entry of clientv3's Mutex
// or "etcdctl lock" by its last segment, which is the id of its lease, and its empty value: one with a
// value is an election's. A lock without an entry that is recognised is not listed; Entries shows it.
//
// It ends by break, or with one final error.
func List(ctx context.Context, cli *clientv3.Client, prefix string, opts *ListOptions) iter.Seq2[*Queue, error] {
	return queue.WalkOf(ctx, lockType, cli, prefix, opts.limit(), newQueue)
}

// Parse is List for keys that were read already, in any order. They must have their values and leases,
// and be all keys below each lock's name. It sends nothing.
func Parse(kvs []*mvccpb.KeyValue, opts *ListOptions) []*Queue {
	return queue.SortedOf(lockType, kvs, opts.limit(), newQueue)
}

func newQueue(l *queue.List) *Queue {
	q := &Queue{Name: l.Name, Entries: make([]Entry, 0, len(l.Entries)), Count: l.Count, Revision: l.Revision}
	for i, f := range l.Entries {
		q.Entries = append(q.Entries, newEntry(l.Name, i, f))
	}
	return q
}

// newEntry makes an Entry of a key in etcd.
func newEntry(name string, position int, f queue.Found) Entry {
	e := Entry{
		Name: name, Key: f.Key, Status: Waits, Position: position, Mode: Exclusive, Token: f.Revision, Lease: f.Lease,
		Foreign: f.Origin != queue.Lock,
	}
	switch {
	case f.Kind.Shared:
		e.Mode = Shared
	case f.Kind.Size > 0:
		e.Mode, e.Weight, e.Size = Counted, f.Kind.Weight, f.Kind.Size
	}
	if f.Turn {
		e.Status = Holds
	}
	var o owner
	if e.Foreign || json.Unmarshal([]byte(f.Value), &o) != nil || o.PID <= 0 {
		return e
	}
	e.Host, e.PID, e.Command, e.Data = bounded(o.Host, mostText), o.PID, bounded(o.Command, mostText), bounded(o.Data, mostData)
	e.Since, _ = time.Parse(time.RFC3339, o.Since) // zero where it is none
	if f.Turn {
		e.Acquired, _ = time.Parse(time.RFC3339, o.Acquired)
	}
	return e
}

const (
	mostText = 256  // bytes of a text that another process wrote
	mostData = 1024 // bytes of Options.Data
)

func bounded(s string, most int) string {
	return strings.ToValidUTF8(quote.Head(s, most), "�")
}

// describe names the process of an entry in the lock's queue.
func describe(name string, kv *queue.KeyValue) string {
	return newEntry(name, 0, queue.Parse(kv)).String()
}

// holderAttrs are the attributes of a holder in the log.
func holderAttrs(name string, f queue.Found) []any {
	e := newEntry(name, 0, f)
	if e.PID == 0 {
		return []any{"holder", e.Process(), "key", quote.Word(e.Key), "token", e.Token}
	}
	since := e.Since
	if !e.Acquired.IsZero() {
		since = e.Acquired
	}
	return []any{"holder", quote.Word(e.Command), "host", quote.Word(e.Host), "pid", e.PID, "since", stamp(since), "key", quote.Word(e.Key), "token", e.Token}
}

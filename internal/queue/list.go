package queue

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"iter"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/ask"
	"github.com/etcdkit/etcdkit/internal/errtext"
	"github.com/etcdkit/etcdkit/internal/quote"
)

const (
	// KeptValue is how much of a value a list keeps.
	KeptValue = 8192

	listTimeout = 15 * time.Second // of one request
)

// Origin tells which package's entry a key is.
type Origin int

// Origins of an entry.
const (
	Unknown   Origin = iota // a key that does not say of what it is; it is in the way of all the same
	Lock                    // this module's
	Candidate               // this module's
	Foreign                 // of clientv3/concurrency or etcdctl: their locks' and elections' look alike
)

// Found is an entry as it was found in etcd.
type Found struct {
	Key       string
	Value     string // the first KeptValue bytes
	ValueSize int
	Revision  int64 // at which it was created: the token
	Lease     clientv3.LeaseID
	Kind      Kind
	Origin    Origin
	Turn      bool // it holds the lock, or leads
}

// List is a queue as it was found in etcd.
type List struct {
	Name     string
	Entries  []Found // in the order of the queue, the oldest first
	Count    int     // of all there are, also of those that were left out
	Revision int64   // of etcd
}

// Origins tells whether it is a lock's queue and not an election's. Foreign entries do not say which:
// clientv3's locks have empty values, and its candidates the value that they campaign with.
func (q *List) Origins() (lock, election bool) {
	var empty, full bool
	for _, e := range q.Entries {
		switch {
		case e.Origin == Lock:
			lock = true
		case e.Origin == Candidate:
			election = true
		case e.Origin == Foreign && e.ValueSize == 0:
			empty = true
		case e.Origin == Foreign:
			full = true
		}
	}
	if lock || election {
		return lock, election
	}
	return empty && !full, full
}

// parse reads a key and its value.
func parse(kv *KeyValue) (name string, f Found) {
	key := string(kv.Key)
	slash := strings.LastIndexByte(key, '/')
	if slash > 0 {
		name = key[:slash]
	}
	value := kv.Value[:min(len(kv.Value), KeptValue)]
	if len(value) < len(kv.Value) {
		value = []byte(quote.Head(string(kv.Value[:KeptValue+1]), KeptValue))
	}
	f = Found{
		Key: key, Value: string(value), ValueSize: len(kv.Value),
		Revision: kv.CreateRevision, Lease: clientv3.LeaseID(kv.Lease),
	}
	f.Origin, f.Kind = origin(key[slash+1:], kv)
	return name, f
}

// origin tells what the last segment of a key says. A key without a lease is no entry.
func origin(last string, kv *KeyValue) (Origin, Kind) {
	if kv.Lease == 0 {
		return Unknown, Kind{}
	}
	lease, slot, ours := strings.Cut(strings.TrimPrefix(last, sharedMark), "-")
	if id, err := strconv.ParseInt(lease, 16, 64); err != nil || id <= 0 || strconv.FormatInt(id, 16) != lease {
		return Unknown, Kind{}
	}
	onOwn := lease == strconv.FormatInt(kv.Lease, 16)
	shared := strings.HasPrefix(last, sharedMark)
	switch {
	case !ours && onOwn && !shared:
		return Foreign, Kind{}
	case !ours:
		return Unknown, Kind{}
	case len(slot) == uniqueLength && strings.Trim(slot, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") == "" && !shared:
		return Candidate, Kind{Unique: true}
	}
	slot, count, counts := strings.Cut(slot, ".")
	if !isLeaseSlot(lease+"-"+slot) || !onOwn && !isLockValue(kv.Value) {
		return Unknown, Kind{}
	}
	if !counts {
		return Lock, Kind{Shared: shared}
	}
	w, ok := parseCount(count)
	if !ok || shared {
		return Unknown, Kind{}
	}
	return Lock, Kind{Weight: w.n, Size: w.size}
}

// isLockValue tells whether a value is a lock's: one that was resumed is on another lease than its key
// says.
func isLockValue(value []byte) bool {
	var is struct{ Nonce string }
	return len(value) <= KeptValue && json.Unmarshal(value, &is) == nil && is.Nonce != ""
}

// Parse is what a key and its value say, without the others of its queue.
func Parse(kv *KeyValue) Found {
	_, f := parse(kv)
	return f
}

// setTurns puts entries in order, and tells which have their turn.
func (q *List) setTurns() {
	slices.SortFunc(q.Entries, func(a, b Found) int { return cmp.Compare(a.Revision, b.Revision) })
	prefix := q.Name + "/"
	exclusive := false                    // one that readers wait for is ahead
	taken, least := int64(0), math.MaxInt // by those ahead, and the smallest size that they count to
	for i := range q.Entries {
		e := &q.Entries[i]
		switch {
		case e.Kind.Shared:
			e.Turn = !exclusive
		case e.Kind.Size == 0:
			e.Turn = i == 0
		default:
			e.Turn = i == 0 || taken+int64(e.Kind.Weight) <= int64(min(e.Kind.Size, least))
		}
		rest := strings.TrimPrefix(e.Key, prefix)
		exclusive = exclusive || !shared(rest)
		takes := Kind{Size: 1}.takes(rest)
		if taken += int64(takes.n); takes.size > 0 {
			least = min(least, takes.size)
		}
	}
}

// truncate leaves out what is too much: the newest entries.
func (q *List) truncate(limit int) {
	slices.SortFunc(q.Entries, func(a, b Found) int { return cmp.Compare(a.Revision, b.Revision) })
	if len(q.Entries) > limit {
		q.Entries = slices.Clone(q.Entries[:limit])
	}
}

// Read reads the queue of a name, with one request.
func Read(ctx context.Context, cli *clientv3.Client, name string, limit int) (*List, error) {
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	resp, err := cli.Get(ctx, name+"/", clientv3.WithPrefix(), clientv3.WithSort(clientv3.SortByCreateRevision, clientv3.SortAscend), clientv3.WithLimit(int64(limit)))
	if err != nil {
		return nil, err
	}
	q := &List{Name: name, Count: int(resp.Count), Revision: resp.Header.Revision}
	for _, kv := range resp.Kvs {
		_, f := parse(kv)
		q.Entries = append(q.Entries, f)
	}
	q.setTurns()
	return q, nil
}

// Walk reads all queues below a prefix, page by page, in the order of their keys. It yields those
// that have an entry that identifies itself, with at most limit entries each.
func Walk(ctx context.Context, cli *clientv3.Client, prefix string, limit int) iter.Seq2[*List, error] {
	return func(yield func(*List, error) bool) {
		s := grouper{limit: limit, yield: yield}
		for kv, err := range keys(ctx, cli, prefix, &s.revision) {
			if err != nil {
				yield(nil, err)
				return
			}
			if !s.add(kv) {
				return
			}
		}
		s.close("")
	}
}

// Sorted are the queues of keys that were read, in whatever way. The Revision of each is that of its
// newest change: what etcd had come to is not known.
func Sorted(kvs []*KeyValue, limit int) []*List {
	var all []*List
	s := grouper{limit: limit, yield: func(q *List, _ error) bool { all = append(all, q); return true }}
	kvs = slices.Clone(kvs)
	slices.SortFunc(kvs, func(a, b *KeyValue) int { return strings.Compare(string(a.Key), string(b.Key)) })
	for _, kv := range kvs {
		s.add(kv)
	}
	s.close("")
	return all
}

// grouper makes queues of keys, which come in their order. Queues whose names begin with another one's
// name and a slash come in the midst of it, so it has one open for each level.
type grouper struct {
	limit    int
	revision int64 // at which the keys were read; 0: not known
	open     []*List
	yield    func(*List, error) bool
}

// add is false when the caller wants no more.
func (s *grouper) add(kv *KeyValue) bool {
	name, f := parse(kv)
	if !s.close(f.Key) {
		return false
	}
	if name == "" {
		return true
	}
	n := len(s.open)
	if n == 0 || s.open[n-1].Name != name {
		s.open = append(s.open, &List{Name: name, Revision: s.revision})
		n++
	}
	q := s.open[n-1]
	q.Count++
	q.Entries = append(q.Entries, f)
	if s.revision == 0 {
		q.Revision = max(q.Revision, kv.ModRevision)
	}
	if len(q.Entries)/2 >= s.limit {
		q.truncate(s.limit)
	}
	return true
}

// close ends the queues that a key does not belong to, nor anything after it.
func (s *grouper) close(key string) bool {
	for n := len(s.open); n > 0 && !(key != "" && strings.HasPrefix(key, s.open[n-1].Name+"/")); n = len(s.open) {
		q := s.open[n-1]
		s.open = s.open[:n-1]
		q.truncate(s.limit)
		if lock, election := q.Origins(); !lock && !election {
			continue
		}
		q.setTurns()
		if !s.yield(q, nil) {
			return false
		}
	}
	return true
}

// keys yields all keys below a prefix, as they were at one revision; at a later one from where history was compacted
// away.
func keys(ctx context.Context, cli *clientv3.Client, prefix string, revision *int64) iter.Seq2[*KeyValue, error] {
	return func(yield func(*KeyValue, error) bool) {
		pages := &ask.Pages{From: prefix, End: clientv3.GetPrefixRangeEnd(prefix), Revision: revision}
		if prefix == "" {
			pages.From = "\x00"
		}
		get := func(from string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
			try, cancel := context.WithTimeout(ctx, listTimeout)
			defer cancel()
			resp, err := cli.Get(try, from, opts...)
			if errors.Is(err, rpctypes.ErrCompacted) && *revision != 0 {
				*revision = 0
				resp, err = cli.Get(try, from, pages.Options()...)
			}
			return resp, err
		}
		for kvs, err := range pages.Read(get) {
			if err != nil {
				yield(nil, errtext.Errorf("read keys from %s: %w", quote.Text(pages.From), err))
				return
			}
			for _, kv := range kvs {
				if !yield(kv, nil) {
					return
				}
			}
		}
	}
}

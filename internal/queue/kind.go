package queue

import (
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// ErrSize: somebody in the queue counts with another size. The error names both.
var ErrSize = errors.New("queue: different sizes")

// ValidName tells what keeps a name from being one of a queue.
func ValidName(name string) error {
	switch {
	case name == "":
		return errors.New("it is empty")
	case strings.HasSuffix(name, "/"):
		return fmt.Errorf("%q ends in a slash, and its keys would begin with two", name)
	case strings.ContainsRune(name, 0):
		return fmt.Errorf("%q contains a NUL byte", name)
	case len(name) > 1000:
		return fmt.Errorf("%.40q… has %d bytes, want 1,000 at the most", name, len(name))
	}
	return nil
}

// Kind is what an entry has to wait for. The zero Kind excludes everybody else.
//
// It is in the key, so that who is ahead can be told by keys alone: NAME/LEASE-SLOT excludes all,
// and so does any other key, of clientv3's; NAME/rLEASE-SLOT is shared, behind the range in which
// all the others are; NAME/LEASE-SLOT.3of10 takes 3 of 10.
type Kind struct {
	Shared       bool // with others that are shared; waits for those that are not
	Weight, Size int  // waits until those ahead and it have no more than Size; 0: does not count
	// Unique has a key that never was, so that it can be known without a nonce in its value. It
	// costs the server more, until the next compaction: for what happens seldom.
	Unique bool
}

const sharedMark = "r" // no hexadecimal digit, and after all of them

// key is one of this kind.
func (k Kind) key(prefix string, lease int64, slot int) string {
	if k.Unique {
		return fmt.Sprintf("%s%x-%s", prefix, lease, rand.Text()[:10])
	}
	mark, count := "", ""
	if k.Shared {
		mark = sharedMark
	}
	if k.Size > 0 {
		count = fmt.Sprintf(".%dof%d", k.Weight, k.Size)
	}
	return fmt.Sprintf("%s%s%x-%d%s", prefix, mark, lease, slot, count)
}

// Excludes tells whether a key is of an entry of the queue that waits for everybody else, and
// everybody else for it.
func (q *Queue) Excludes(key string) bool {
	last, ours := strings.CutPrefix(key, q.prefix)
	return ours && !strings.HasPrefix(last, sharedMark) && !strings.Contains(last, ".")
}

// takes is how much a key of the queue takes of a size, and whether it counts with another size.
func (k Kind) takes(key string) (weight, other int) {
	if k.Size == 0 {
		return 1, 0
	}
	_, count, counts := strings.Cut(key[strings.LastIndexByte(key, '/')+1:], ".")
	w, s, ok := strings.Cut(count, "of")
	weight, err1 := strconv.Atoi(w)
	size, err2 := strconv.Atoi(s)
	switch {
	case !counts || !ok || err1 != nil || err2 != nil:
		return k.Size, 0 // it excludes everybody
	case size != k.Size:
		return weight, size
	}
	return weight, 0
}

// differs is the error of somebody who counts with another size.
func (k Kind) differs(key string, other int) error {
	return fmt.Errorf("%w: here it is %d, and %d with the key %q", ErrSize, k.Size, other, key)
}

// limit is how much of those ahead may be there when the turn has come.
func (k Kind) limit() int {
	if k.Size == 0 {
		return 0
	}
	return k.Size - k.Weight
}

// before are those that an entry of this kind waits for: as many of the newest as it needs to know,
// besides itself.
func (k Kind) before(prefix string, also ...clientv3.OpOption) clientv3.Op {
	opts := append([]clientv3.OpOption{clientv3.WithKeysOnly()}, also...)
	if k.Shared {
		opts = append(opts, clientv3.WithRange(prefix+sharedMark))
	} else {
		opts = append(opts, clientv3.WithPrefix())
	}
	if k.Size == 0 {
		opts = append(opts, clientv3.WithSort(clientv3.SortByCreateRevision, clientv3.SortDescend), clientv3.WithLimit(few+2))
	}
	return clientv3.OpGet(prefix, opts...)
}

// order takes note of who is ahead, as of a revision. q.mu is held.
func (q *Queue) order(e *Entry, kvs []*mvccpb.KeyValue, at int64) {
	e.ahead, e.taken, e.last, e.at, e.fresh = make(map[string]int), 0, predecessor{}, at, true
	for _, kv := range kvs {
		key := string(kv.Key)
		if key == e.Key || kv.CreateRevision > e.Revision {
			continue
		}
		weight, other := e.Kind.takes(key)
		if other != 0 {
			e.clash = e.Kind.differs(key, other)
		}
		e.ahead[key] = weight
		e.taken += weight
		if kv.CreateRevision > e.last.revision {
			e.last = predecessor{key, kv.CreateRevision}
		}
	}
}

// clear tells whether nobody is ahead whom the entry waits for. Queue.mu is held.
func (e *Entry) clear() bool { return e.taken <= e.Kind.limit() }

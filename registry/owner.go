package registry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/ask"
	"github.com/etcdkit/etcdkit/internal/errtext"
	"github.com/etcdkit/etcdkit/internal/quote"
)

// ownerPause is between two reads of an owner's lease.
const ownerPause = 500 * time.Millisecond

// ownerCheck finds out whether another process that has a key lives.
type ownerCheck struct {
	cli    *clientv3.Client
	prefix string
	table  *table
}

// check reads the leases of other processes' keys that this registrar wants, each lease once.
func (c *ownerCheck) check(ctx context.Context, owners []owner) {
	byLease := make(map[int64][]owner)
	for _, o := range owners {
		o.here = registeredHere(c.table.etcd, o.kv)
		byLease[o.kv.Lease] = append(byLease[o.kv.Lease], o)
	}
	var reading sync.WaitGroup
	for id, owners := range byLease {
		reading.Go(func() {
			read, ends, err := c.readLease(ctx, id)
			c.table.mu.Lock()
			defer c.table.mu.Unlock()
			for _, o := range owners {
				c.record(o, read, ends, err)
			}
		})
	}
	reading.Wait()
}

// record records what a read of an owner's lease found. A first registration is refused as soon as the
// owner is known to live; one that was complete before waits for the key. table.mu is held.
func (c *ownerCheck) record(o owner, read ownerLease, ends bool, err error) {
	t, kv := c.table, o.kv
	e := t.entries[string(kv.Key)]
	if e == nil || e.withdrawing { // it began to leave while etcd was asked
		return
	}
	if err != nil {
		e.failed(errtext.Errorf("read lease %x of the key's owner: %w", kv.Lease, err), rand.N(ownerPause))
		return
	}
	lives, established := kv.Lease == 0 || o.here || e.ownerLease.renewed(read), e.revision > 0
	pause := ownerPause
	switch {
	case e.othersRevision > kv.ModRevision:
		pause = 0 // it has changed meanwhile
	case ends:
		pause = firstPause
	case lives && established:
		pause = slowPause // and its watch reports when the key becomes free
	}
	if !lives && !errors.Is(e.lastErr, errOwned) {
		t.note(slog.LevelWarn, "waiting for the lease of the key's owner to end", "key", e.key, "owner", o.name,
			"lease", fmt.Sprintf("%x", kv.Lease), "left", max(read.remaining, 0), "because", o.unproven)
	}
	held := heldByOther(kv.Lease, lives, o, read.remaining)
	if lives && !established {
		e.refused(held, pause)
	} else {
		e.failed(held, pause)
	}
	if lives || !e.ownerLease.comparable(read) {
		e.ownerLease = read
	}
}

// errOwned: another process has the key, and whether it lives is not known.
var errOwned = errors.New("registry: the key has an owner")

// heldByOther is the error that names the owner of a key, and says what to do.
func heldByOther(on int64, lives bool, o owner, remaining time.Duration) error {
	switch {
	case o.here:
		return errRegisteredHere()
	case on == 0:
		return fmt.Errorf("%w: %s; the key has no lease, so it stays; choose another ID, or delete the key", ErrExists, o.name)
	case lives:
		return fmt.Errorf("%w: %s; choose another ID, or stop it", ErrExists, o.name)
	}
	return errtext.New(fmt.Sprintf("registry: waiting for lease %x of the key's owner to end: it has %v left and was not renewed so far; the owner is %s, and it may be alive: %s",
		on, max(remaining, 0), o.name, o.unproven), errOwned)
}

// liveTables are those of one client whose workers run.
type liveTables struct{ sync.Map }

func liveTablesOf(etcd *ask.Client) *liveTables {
	return ask.Shared(etcd, func() *liveTables { return new(liveTables) })
}

// registeredHere reports whether a Registrar of this client keeps a key that was read. No table.mu is held.
func registeredHere(etcd *ask.Client, kv *mvccpb.KeyValue) (here bool) {
	for t := range liveTablesOf(etcd).Range {
		t := t.(*table)
		t.mu.Lock()
		e := t.entries[string(kv.Key)]
		here = e != nil && e.written && !e.withdrawing && e.lease.Err() == nil && int64(e.writtenOn.ID()) == kv.Lease
		t.mu.Unlock()
		if here {
			break
		}
	}
	return here
}

func errRegisteredHere() error {
	return errtext.New(fmt.Sprintf("registry: registered by this process already (pid %d): close that Registration first, or choose another ID", os.Getpid()), ErrExists)
}

// readLease asks how much time a lease has left, and whether it ends just now.
func (c *ownerCheck) readLease(ctx context.Context, id int64) (read ownerLease, ends bool, err error) {
	read = ownerLease{lease: id, asked: time.Now()}
	if id == 0 {
		return read, false, nil
	}
	ttl, _, err := hedged(ctx, 1, func(ctx context.Context) (*clientv3.LeaseTimeToLiveResponse, error) {
		return c.cli.TimeToLive(ctx, clientv3.LeaseID(id))
	})
	if err != nil {
		return read, false, err
	}
	read.answered, read.remaining = time.Now(), time.Duration(ttl.TTL)*time.Second
	if ttl.TTL <= ttl.GrantedTTL { // otherwise the leader has not begun to count
		read.term = ttl.RaftTerm
	}
	return read, ttl.TTL < 0, nil
}

// ownerLease is what one read of an owner's lease found.
type ownerLease struct {
	lease           int64
	remaining       time.Duration // at some time between the two
	asked, answered time.Time
	term            uint64 // of raft: a new leader gives every lease its full time again; 0: it has not done so yet
}

// comparable reports whether two reads can say anything about the owner.
func (l ownerLease) comparable(later ownerLease) bool {
	return l.lease == later.lease && l.term == later.term && l.term != 0
}

// renewed reports whether the owner renewed the lease between two reads. etcd rounds to seconds.
func (l ownerLease) renewed(later ownerLease) bool {
	return l.comparable(later) && later.remaining > l.remaining-later.asked.Sub(l.answered)+1500*time.Millisecond
}

// owner is the process that has a key, as the value says. The name is for people: any client can write
// any value.
type owner struct {
	kv       *mvccpb.KeyValue
	name     string
	ended    bool   // provably
	unproven string // why not
	here     bool   // this process keeps the key registered
}

// ownerOf reads a value, and finds out whether the process is gone.
func (c *ownerCheck) ownerOf(kv *mvccpb.KeyValue) owner {
	i, err := Decode(c.prefix, string(kv.Key), string(kv.Value))
	if err != nil || i.PID == 0 {
		return owner{
			kv:       kv,
			name:     "a process that does not identify itself, with the value " + quote.Cut(string(kv.Value), 40),
			unproven: "its record does not say which process it is",
		}
	}
	o := owner{kv: kv, name: fmt.Sprintf("pid %d on host %s", i.PID, quote.Word(i.Host))}
	p := recordedProcess(string(kv.Value))
	if p != nil {
		o.name += ", since " + time.Unix(p.since, 0).UTC().Format(time.RFC3339)
	}
	o.ended, o.unproven = p.ended(i.PID)
	return o
}

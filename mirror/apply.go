package mirror

import (
	"context"
	"errors"
	"fmt"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/errtext"
)

// apply brings a response into the copy, one snapshot for each transaction.
func (f *follower) apply(r *pb.WatchResponse) error {
	if err := f.checkCluster(r.Header); err != nil {
		return err
	}
	if r.Canceled {
		return cancelled(r)
	}
	if len(r.Events) == 0 {
		f.advance(r.Header.Revision)
		return nil
	}
	// The header's revision is not the copy's: while a watch catches up, it is ahead of events that
	// are still to come.
	for events := r.Events; len(events) > 0; {
		n := 1
		for n < len(events) && events[n].Kv.ModRevision == events[0].Kv.ModRevision {
			n++
		}
		if err := f.transaction(events[:n]); err != nil {
			return err
		}
		events = events[n:]
	}
	return nil
}

// advance records that nothing happened up to a revision.
func (r *replica) advance(revision int64) {
	if was := r.Snapshot(); revision > was.revision {
		r.publish(&Batch{Snapshot: &Snapshot{tree: was.tree, revision: revision, epoch: was.epoch}})
	}
}

// transaction applies the events of one revision.
func (r *replica) transaction(events []*mvccpb.Event) error {
	was, revision := r.Snapshot(), events[0].Kv.ModRevision
	if revision <= was.revision {
		return r.known(events)
	}
	changes := make([]Change, 0, len(events))
	for _, e := range events {
		key := string(e.Kv.Key)
		old, _ := r.tree.Get(key)
		if !follows(old, e) {
			return &gapError{Diverged, fmt.Sprintf("%s of %q at revision %d does not follow from the copy at %d", e.Type, key, revision, was.revision)}
		}
		c := Change{Key: key, Old: old, Previous: old, Revision: revision}
		if old != nil {
			r.bytes -= old.size()
		}
		if e.Type == clientv3.EventTypePut {
			c.New = newKeyValue(e.Kv)
			r.tree.Set(c.New.Key, c.New)
			r.bytes += c.New.size()
			r.lastChanged = c.New
		} else {
			r.tree.Delete(key)
			if r.lastChanged != nil && r.lastChanged.Key == key {
				_, r.lastChanged, _ = r.tree.Min()
			}
		}
		changes = append(changes, c)
	}
	r.mu.Lock()
	r.record.Transactions++
	r.record.Events += uint64(len(events))
	r.mu.Unlock()
	r.publish(&Batch{Changes: changes, Snapshot: &Snapshot{tree: r.tree.Copy(), revision: revision, epoch: was.epoch}})
	return nil
}

// known makes sure that events of the past are in the copy. etcd 3.7 does not send any.
func (r *replica) known(events []*mvccpb.Event) error {
	for _, e := range events {
		entry, _ := r.tree.Get(string(e.Kv.Key))
		missed := entry != nil && entry.ModRevision < e.Kv.ModRevision
		if e.Type == clientv3.EventTypePut {
			missed = missed || entry == nil
		}
		if missed {
			return &gapError{Diverged, fmt.Sprintf("%s of %q at revision %d came after progress to %d", e.Type, e.Kv.Key, e.Kv.ModRevision, r.Snapshot().revision)}
		}
	}
	return nil
}

// follows tells whether the event can come next in the key's life. Anything else means that
// something was missed, whatever the reason.
func follows(old *KeyValue, e *mvccpb.Event) bool {
	switch {
	case e.Type == clientv3.EventTypeDelete:
		return old != nil
	case old == nil:
		return e.Kv.Version == 1
	}
	return e.Kv.CreateRevision == old.CreateRevision && e.Kv.Version == old.Version+1
}

// position is what a history must have in common with the copy: the entry that changed last was
// like this at this revision. Nil: there were no entries.
type position struct {
	revision    int64
	lastChanged *KeyValue
}

func (r *replica) position() position { return position{r.Snapshot().revision, r.lastChanged} }

// answer is what a linearizable read said.
type answer struct {
	asked    time.Time
	revision int64
	err      error // a gapError if the history is another one
}

// verify asks etcd what revision it has come to, and whether the position matches.
func (r *replica) verify(ctx context.Context, p position, timeFactor time.Duration) answer {
	a := answer{asked: time.Now()}
	req := &pb.RangeRequest{Key: []byte(r.first), RangeEnd: []byte(r.end), Limit: 1, KeysOnly: true, Revision: p.revision}
	if p.lastChanged != nil {
		req.Key, req.RangeEnd = []byte(p.lastChanged.Key), nil
	}
	compacted := false
	resp, err := r.get(ctx, timeFactor*smallTimeout, timeFactor*smallStagger, req)
	if errors.Is(err, rpctypes.ErrCompacted) { // fine: the watch is ahead of what can still be asked about
		compacted, req.Revision = true, 0
		resp, err = r.get(ctx, timeFactor*smallTimeout, timeFactor*smallStagger, req)
	}
	if errors.Is(err, rpctypes.ErrFutureRev) {
		a.err = &gapError{Regressed, fmt.Sprintf("etcd's revision is below %d, which it had come to before", p.revision)}
		return a
	}
	if err != nil {
		a.err = errtext.Errorf("ask for etcd's revision: %w", err)
		return a
	}
	a.revision = resp.Header.Revision
	switch err := r.checkCluster(resp.Header); {
	case err != nil:
		a.err = err
	case a.revision < p.revision:
		a.err = &gapError{Regressed, fmt.Sprintf("from %d to %d", p.revision, a.revision)}
	case !compacted && !p.matches(resp.Kvs):
		a.err = &gapError{Diverged, fmt.Sprintf("%q at revision %d is not what it was", req.Key, p.revision)}
	}
	return a
}

func (p position) matches(kvs []*mvccpb.KeyValue) bool {
	if p.lastChanged == nil || len(kvs) == 0 {
		return p.lastChanged == nil && len(kvs) == 0
	}
	return kvs[0].ModRevision == p.lastChanged.ModRevision && kvs[0].CreateRevision == p.lastChanged.CreateRevision && kvs[0].Version == p.lastChanged.Version
}

package watch

import (
	"context"
	"errors"
	"iter"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/mirror"
)

// Batch is a step from one revision to a later one.
type Batch struct {
	Revision int64
	Reason   Reason
	Because  mirror.Reason // of Reread, why the keys were read again; "" if only the reader was slow
	Changes  []mirror.Change
}

// Reason is why there is a batch.
type Reason string

const (
	Changed Reason = "changed" // keys have changed
	Initial Reason = "initial" // the keys that are there at the start
	Reread  Reason = "reread"  // the changes were found by comparing, so there may have been others in between
)

// Source is where changes come from.
type Source struct {
	mirror     *mirror.Mirror
	cli        *clientv3.Client
	first, end string
	rev        int64
	from       *mirror.Snapshot

	steps   chan step // what follows from
	err     error     // why there are no more, once steps is closed
	stop    context.CancelFunc
	rereads map[mirror.Reason]uint64 // that were told
}

// Open begins to follow the keys from first on that sort before end, as in mirror.Options.RangeEnd. With rev, the
// changes since that revision come first, or only those from then on if it is yet to come. ctx bounds the call.
func Open(ctx context.Context, cli *clientv3.Client, first, end string, rev int64) (*Source, error) {
	m, err := mirror.Open(ctx, cli, first, &mirror.Options{RangeEnd: end})
	if err != nil {
		return nil, err
	}
	s := &Source{mirror: m, cli: cli, first: first, end: end, rev: rev, from: m.Snapshot(), steps: make(chan step)}
	s.rereads = m.Stats().Rereads
	following, stop := context.WithCancel(context.Background())
	s.stop = stop
	begins := make(chan struct{})
	go s.follow(following, begins) // ends with Close, or with the client
	<-begins
	return s, nil
}

// step is a batch of the mirror.
type step struct {
	*mirror.Batch
	conflated bool // of all that a slow reader has missed
}

// Close ends it.
func (s *Source) Close() error {
	s.stop()
	for range s.steps { // until follow has ended
	}
	return s.mirror.Close()
}

// State tells whether etcd confirms what has been seen.
func (s *Source) State() mirror.State { return s.mirror.State() }

// FreshnessChanged is that of the mirror.
func (s *Source) FreshnessChanged() <-chan struct{} { return s.mirror.FreshnessChanged() }

// Future is the revision that was asked for, and the present one, if that is to come; else 0.
func (s *Source) Future() (rev, now int64) {
	if s.rev > s.from.Revision() {
		rev, now = s.rev, s.from.Revision()
	}
	return rev, now
}

// Present is what there is at the start, as a batch of puts.
func (s *Source) Present() Batch {
	b := Batch{Revision: s.from.Revision(), Reason: Initial}
	for kv := range s.from.All() {
		b.Changes = append(b.Changes, mirror.Change{Key: kv.Key, New: &kv, Revision: kv.ModRevision})
	}
	return b
}

// Batches are the changes from the start on. Each transaction is a batch, as long as they are taken as fast as they
// come; a reader that falls far behind gets what has changed in all. The sequence ends with one error. It can
// be used once.
func (s *Source) Batches(ctx context.Context) iter.Seq2[Batch, error] {
	return func(yield func(Batch, error) bool) {
		if s.rev > 0 && s.rev <= s.from.Revision() {
			for b, err := range history(ctx, s.cli, s.first, s.end, s.rev, s.from.Revision()) {
				if !yield(b, err) || err != nil {
					return
				}
			}
		}
		for {
			select {
			case step, ok := <-s.steps:
				if !ok {
					yield(Batch{}, s.err)
					return
				}
				if b := s.batch(step); len(b.Changes) > 0 && !yield(b, nil) {
					return
				}
			case <-ctx.Done():
				yield(Batch{}, context.Cause(ctx))
				return
			}
		}
	}
}

// follow passes on what the mirror tells.
func (s *Source) follow(ctx context.Context, begins chan<- struct{}) {
	defer close(s.steps)
	close(begins)
	from, each := s.from, true
	for {
		for b, err := range s.mirror.Changes(ctx, &mirror.ChangesOptions{From: from, EachTransaction: each}) {
			if s.err = err; err != nil {
				break
			}
			from = b.Snapshot
			select {
			case s.steps <- step{b, !each}:
			case <-ctx.Done():
				s.err = context.Cause(ctx)
				return
			}
			if !each {
				break
			}
		}
		if s.err != nil && !errors.Is(s.err, mirror.ErrSlow) {
			return
		}
		each = !each // after ErrSlow, one step makes up for it without a gap
	}
}

// batch is one of a mirror, without what is before the revision asked for.
func (s *Source) batch(b step) Batch {
	batch := Batch{Revision: b.Snapshot.Revision(), Reason: Changed}
	synthesised := false
	for _, c := range b.Changes {
		if c.Revision < s.rev && b.Snapshot.Epoch() == s.from.Epoch() {
			continue
		}
		synthesised = synthesised || c.Synthesised
		batch.Changes = append(batch.Changes, c)
	}
	if synthesised { // where nothing was read again, it is what happened while the mirror was opened
		now := s.mirror.Stats().Rereads
		for reason, n := range now {
			if n != s.rereads[reason] {
				batch.Because = reason
			}
		}
		s.rereads = now
		if b.conflated || batch.Because != "" {
			batch.Reason = Reread
		}
	}
	return batch
}

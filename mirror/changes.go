package mirror

import (
	"context"
	"fmt"
	"iter"
	"sync"

	"github.com/etcdkit/etcdkit/internal/errtext"
)

// ChangesOptions of Changes. The zero value and nil are the defaults.
type ChangesOptions struct {
	// From is the snapshot that the changes lead on from; it may be an older one, and the zero
	// Snapshot gives every key that there is. The first batch then makes up for what has
	// happened since. Nil: the newest one at the call of Changes.
	From *Snapshot

	// EachTransaction gives every transaction as a batch of its own, instead of conflating what
	// a slow reader has not taken yet. A reader that falls behind by more than Buffer ends
	// with ErrSlow.
	EachTransaction bool

	// Buffer bounds the memory of what waits for the reader, in bytes, about. Default 4 MiB.
	// One batch may always wait, whatever its size. Beyond the bound a reader that conflates
	// costs no more than the snapshot it has seen last: its next batch is found by comparing.
	Buffer int
}

// Changes is the sequence of batches that leads on from a snapshot without a gap, for as long
// as the mirror lives. Every batch comes with the Snapshot that it leads to, so a reader can
// take up again where it ended.
//
// By default a reader that does not keep up gets fewer, larger batches: for each key the last
// change only, and nothing for a key that came and went. After a gap in the watch the mirror
// reads again and the difference comes as one batch of Synthesised changes; when Epoch has
// grown, the history is another one.
//
// The sequence ends with break or with one error: ctx's, ErrClosed or ErrSlow. It may be used
// more than once and begins again each time.
func (m *Mirror) Changes(ctx context.Context, opts *ChangesOptions) iter.Seq2[*Batch, error] {
	var o ChangesOptions
	if opts != nil {
		o = *opts
	}
	if o.From == nil {
		o.From = m.Snapshot()
	}
	if o.Buffer == 0 {
		o.Buffer = 4 << 20
	}
	return func(yield func(*Batch, error) bool) {
		if o.Buffer < 0 {
			yield(nil, fmt.Errorf("%w: changes of %q: Buffer is %d", ErrInvalid, m.replica.prefix, o.Buffer))
			return
		}
		r := &reader{ChangesOptions: o, of: m, at: o.From, wake: make(chan struct{}, 1)}
		now := m.replica.join(r)
		defer m.replica.leave(r)
		if b := between(r.at, now); b.advances(r.at) && !yield(b, nil) {
			return
		}
		r.at = now
		for {
			b, err := m.nextBatch(ctx, r)
			if err != nil {
				yield(nil, err)
				return
			}
			was := r.at
			if r.at = b.Snapshot; b.advances(was) && !yield(b, nil) {
				return
			}
		}
	}
}

// reader is one use of Changes.
type reader struct {
	ChangesOptions
	of   *Mirror
	at   *Snapshot     // what it has seen; its own
	wake chan struct{} // something waits

	mu    sync.Mutex
	queue []*Batch // only the last with its tree, unless each transaction is wanted
	size  int
	over  bool // more than Buffer: the queue was dropped
}

// join makes r hear of every batch after the snapshot that it returns.
func (r *replica) join(reader *reader) *Snapshot {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.readers[reader] = struct{}{}
	return reader.of.Snapshot() // of a mirror that was closed its last one
}

func (r *replica) leave(reader *reader) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.readers, reader)
}

// push gives the reader a batch. It never blocks.
func (r *reader) push(b *Batch) {
	size := r.cost(b)
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.over:
	case len(r.queue) > 0 && r.size+size > r.Buffer:
		r.queue, r.size, r.over = nil, 0, true
	default:
		if last := len(r.queue) - 1; last >= 0 && !r.EachTransaction {
			before := r.queue[last]
			r.queue[last] = &Batch{Changes: before.Changes, Snapshot: before.Snapshot.withoutEntries()}
		}
		r.queue = append(r.queue, b)
		r.size += size
	}
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// cost is roughly what keeping a batch costs, in bytes: that of its changes, and where its
// snapshot is kept, too, of the tree's nodes that are no other snapshot's.
func (r *reader) cost(b *Batch) int {
	size := b.size()
	if r.EachTransaction {
		size += b.Snapshot.nodes(len(b.Changes)) * nodeSize
	}
	return size
}

// nextBatch waits for what the reader is to get next.
func (m *Mirror) nextBatch(ctx context.Context, r *reader) (*Batch, error) {
	for {
		if err := context.Cause(ctx); err != nil {
			return nil, errtext.Errorf("mirror: changes of %q: %w", m.replica.prefix, err)
		}
		queue, over := r.take()
		switch {
		case over && r.EachTransaction:
			return nil, fmt.Errorf("%w: changes of %q: more than %d bytes waited after revision %d", ErrSlow, m.replica.prefix, r.Buffer, r.at.revision)
		case over:
			// What came meanwhile is in here and in the queue; the sequence number tells.
			return between(r.at, m.Snapshot()), nil
		}
		for len(queue) > 0 && queue[0].Snapshot.seq <= r.at.seq {
			queue = queue[1:]
		}
		if len(queue) > 0 {
			return conflate(queue), nil
		}
		select {
		case <-r.wake:
		case <-ctx.Done():
		case <-m.life.Done():
			// What was published before the end is delivered before its error.
			if r.empty() {
				return nil, m.Err()
			}
		}
	}
}

// take empties the queue; of a reader of every transaction it takes the first one.
func (r *reader) take() (queue []*Batch, over bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if over = r.over; over {
		r.over = false
		return nil, true
	}
	if r.EachTransaction && len(r.queue) > 1 {
		queue = []*Batch{r.queue[0]}
		r.queue[0] = nil // the array lives on
		r.queue = r.queue[1:]
		r.size -= r.cost(queue[0])
		return queue, false
	}
	queue = r.queue
	r.queue, r.size = nil, 0
	return queue, false
}

func (r *reader) empty() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.queue) == 0 && !r.over
}

package mirror

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Mirror is a copy of a prefix that follows etcd until it is closed.
type Mirror struct {
	cli        *clientv3.Client
	prefix     string
	first, end string // the prefix as a range of keys
	opts       Options
	log        *slog.Logger

	snapshot atomic.Pointer[Snapshot]
	kick     chan struct{} // wakes the next confirmation
	stop     context.CancelCauseFunc
	done     chan struct{}

	// Of run, and of Open before it:
	tree     *tree     // what is published next; readers never see it
	anchor   *KeyValue // a key by which the history is recognised; nil: the tree is empty
	patience time.Duration

	mu      sync.Mutex
	err     error
	record  record
	readers map[*reader]struct{}
	moved   chan struct{} // closed at the next snapshot; nil while nobody waits
	turned  chan struct{} // closed when it turns stale or synced
	aging   *time.Timer   // reports that it has turned stale by growing old
}

// Open reads the prefix and returns when the copy is complete. ctx bounds the call, not the
// life of the mirror: Close it when done. opts may be nil. The empty prefix is the whole
// keyspace.
//
// While etcd cannot be reached, or has no leader, Open tries on until ctx is done; its error
// then names the endpoints and the last cause. ErrDenied is returned at once, ErrPrefix,
// ErrOptions and ErrWrapped before anything is sent.
func Open(ctx context.Context, cli *clientv3.Client, prefix string, opts *Options) (*Mirror, error) {
	o, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := checkTarget(cli, prefix); err != nil {
		return nil, err
	}
	m := &Mirror{
		cli: cli, prefix: prefix, first: prefix, end: clientv3.GetPrefixRangeEnd(prefix), opts: o,
		log:  o.Logger.With("prefix", prefix),
		kick: make(chan struct{}, 1), done: make(chan struct{}),
		patience: o.Patience, readers: make(map[*reader]struct{}),
	}
	if prefix == "" {
		m.first, m.end = "\x00", "\x00" // etcd's way to say: all
	}
	m.turned, m.aging = make(chan struct{}), time.AfterFunc(time.Hour, m.report)
	m.aging.Stop()
	m.record.Rereads = make(map[Reason]uint64)
	m.snapshot.Store(&Snapshot{})
	if err := m.firstCopy(ctx); err != nil {
		return nil, fmt.Errorf("mirror: open %q: %w", prefix, err)
	}
	life, stop := context.WithCancelCause(cli.Ctx())
	m.stop = stop
	go m.run(life) // ends with Close, or with the client
	return m, nil
}

// firstCopy reads until it has a complete copy, or must not go on.
func (m *Mirror) firstCopy(ctx context.Context) error {
	reads, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(m.cli.Ctx(), cancel)()
	pause := m.backoff()
	for {
		r, err := m.read(reads)
		switch {
		case err == nil:
			m.install(r, "")
			return nil
		case m.cli.Ctx().Err() != nil:
			return fmt.Errorf("%w: its client was", ErrClosed)
		case denied(err):
			return refusal(err)
		}
		pause.wait(reads, 0)
		if ctx.Err() != nil {
			return fmt.Errorf("no complete copy from %q: %w: %w", m.cli.Endpoints(), ctx.Err(), err)
		}
	}
}

func (m *Mirror) backoff() backoff { return backoff{conn: m.cli.ActiveConnection()} }

// Close ends the mirror. What it holds can still be read; it does not change any more.
func (m *Mirror) Close() error {
	m.stop(ErrClosed)
	<-m.done
	return nil
}

// Done is closed when the mirror has ended: by Close, or because the client was closed. Nothing
// else ends it.
func (m *Mirror) Done() <-chan struct{} { return m.done }

// Err is nil until Done is closed, and then an ErrClosed.
func (m *Mirror) Err() error {
	select {
	case <-m.done:
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.err
	default:
		return nil
	}
}

// Snapshot returns the newest snapshot. It takes no lock and allocates nothing.
func (m *Mirror) Snapshot() *Snapshot { return m.snapshot.Load() }

// Get returns the key's entry, and whether there is one, as of the newest snapshot. The key
// includes the prefix.
func (m *Mirror) Get(key string) (KeyValue, bool) { return m.Snapshot().Get(key) }

// Wait returns when the copy is at the revision or later: after a write, with the revision in
// the header of its answer, it makes the mirror show that write. A revision of an earlier epoch
// may never come. The error is ctx's or ErrClosed.
func (m *Mirror) Wait(ctx context.Context, revision int64) error {
	const usual = 20 * time.Millisecond // an event is there by then, and progress need not be asked for
	late := time.NewTimer(usual)
	defer late.Stop()
	for {
		m.mu.Lock()
		if m.Snapshot().revision >= revision {
			m.mu.Unlock()
			return nil
		}
		if m.moved == nil {
			m.moved = make(chan struct{})
		}
		moved := m.moved
		m.mu.Unlock()
		select {
		case <-moved:
		case <-late.C:
			select {
			case m.kick <- struct{}{}:
			default:
			}
		case <-ctx.Done():
			return fmt.Errorf("mirror: wait for revision %d, at %d: %w", revision, m.Snapshot().revision, ctx.Err())
		case <-m.done:
			return m.Err()
		}
	}
}

// publish makes a batch visible, to everyone at once. It may be empty.
func (m *Mirror) publish(b *Batch) {
	m.mu.Lock()
	defer m.mu.Unlock()
	was := m.Snapshot()
	b.Snapshot.seq = was.seq + 1
	m.snapshot.Store(b.Snapshot)
	if b.leads(was) {
		for r := range m.readers {
			r.push(b)
		}
	}
	if m.moved != nil {
		close(m.moved)
		m.moved = nil
	}
}

// install replaces the copy by a new reading, tells readers the difference, and returns it. The
// reason is empty for the first one, of which nobody can have heard.
func (m *Mirror) install(r *reading, reason Reason) *Batch {
	was := m.Snapshot()
	m.tree, m.anchor = r.tree, r.newest
	b := &Batch{Snapshot: &Snapshot{tree: m.tree.Copy(), revision: r.revision, epoch: was.epoch}}
	if reason != "" {
		b = between(was, b.Snapshot)
	}
	m.mu.Lock()
	if reason != "" {
		switch {
		case r.cluster != m.record.ClusterID:
			reason = OtherCluster
		case r.revision < was.revision:
			reason = Regressed
		case slices.ContainsFunc(b.Changes, func(c Change) bool { return c.New != nil && c.New.ModRevision <= was.revision }):
			reason = Diverged // it would have been in the copy
		}
		m.record.Rereads[reason]++
		if reason.breaks() {
			b.Snapshot.epoch++
		}
	}
	m.record.ClusterID = r.cluster
	m.mu.Unlock()
	m.publish(b)
	m.confirm(r.asked, r.revision)
	return b
}

// finish takes note of why the mirror ended.
func (m *Mirror) finish(life context.Context) {
	m.mu.Lock()
	m.err = ErrClosed
	if context.Cause(life) != ErrClosed {
		m.err = fmt.Errorf("%w: its client was", ErrClosed)
	}
	m.record.MemberID = 0
	m.mu.Unlock()
	m.aging.Stop()
	close(m.done)
}

package mirror

import (
	"context"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/ask"
	"github.com/etcdkit/etcdkit/internal/errtext"
)

// Mirror is a copy of a prefix that follows etcd until it is closed.
type Mirror struct {
	replica *replica
	newest  atomic.Pointer[atomic.Pointer[Snapshot]] // the replica's; after Close the mirror's own

	life context.Context // ends with Close, or with the replica; its cause says which
	stop context.CancelCauseFunc

	// final is what was known at Close. replica.mu guards it.
	final *record
}

// Open reads the prefix and returns when the copy is complete: what was committed before the call
// is in it. ctx bounds the call, not the life of the mirror: Close it when done. opts may be nil.
// The empty prefix is the whole keyspace. With Options.RangeEnd it is a range of keys instead, such as one key.
//
// Mirrors of one client with the same prefix and equal options share one copy, one watch and its
// confirmations, however many there are. Each is closed by itself.
//
// While etcd cannot be reached, or has no leader, Open tries on until ctx is done; its error
// then names the endpoints and the last cause. ErrDenied is returned at once, ErrClosed if the
// client is closed, ErrInvalid before anything is sent.
func Open(ctx context.Context, cli *clientv3.Client, prefix string, opts *Options) (*Mirror, error) {
	o, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := checkTarget(cli, prefix, o.RangeEnd); err != nil {
		return nil, err
	}
	began := time.Now()
	r := acquire(cli, prefix, o)
	if err := r.await(ctx, began); err != nil {
		r.release()
		return nil, errtext.Errorf("mirror: open %q: %w", prefix, err)
	}
	m := &Mirror{replica: r}
	m.life, m.stop = context.WithCancelCause(r.ended)
	m.newest.Store(&r.snapshot)
	return m, nil
}

// Close ends the mirror. What it holds can still be read; it does not change any more. Others that
// share its copy go on.
func (m *Mirror) Close() error {
	r := m.replica
	r.mu.Lock()
	open := m.final == nil
	if open {
		m.final = &record{State: m.state(), Stats: m.replica.record.stats()}
		own := new(atomic.Pointer[Snapshot])
		own.Store(r.snapshot.Load())
		m.newest.Store(own)
		m.stop(ErrClosed)
	}
	r.mu.Unlock()
	if open {
		r.release()
	}
	return nil
}

// Done is closed when the mirror has ended: by Close, or because the client was closed. Nothing
// else ends it.
func (m *Mirror) Done() <-chan struct{} { return m.life.Done() }

// Err is nil until Done is closed, and then an ErrClosed.
func (m *Mirror) Err() error {
	if m.life.Err() == nil {
		return nil
	}
	return errtext.Errorf("mirror: copy of %q: %w", m.replica.prefix, context.Cause(m.life))
}

// Snapshot returns the newest snapshot. It takes no lock and allocates nothing.
func (m *Mirror) Snapshot() *Snapshot { return m.newest.Load().Load() }

// Get returns the key's entry, and whether there is one, as of the newest snapshot. The key
// includes the prefix.
func (m *Mirror) Get(key string) (KeyValue, bool) { return m.Snapshot().Get(key) }

// State returns the mirror's state. It takes about a microsecond and a lock, unlike Get and Snapshot.
func (m *Mirror) State() State {
	m.replica.mu.Lock()
	defer m.replica.mu.Unlock()
	return m.state()
}

// state is State with replica.mu held.
func (m *Mirror) state() State {
	if m.final == nil {
		return m.replica.state()
	}
	s := m.final.State
	s.Fresh, s.Since, s.Cause, s.MemberID = false, s.Confirmed, m.Err(), 0
	return s
}

// Stats returns the counters, as of Close once the mirror is closed.
func (m *Mirror) Stats() Stats {
	m.replica.mu.Lock()
	defer m.replica.mu.Unlock()
	if m.final != nil {
		return m.final.stats()
	}
	return m.replica.record.stats()
}

// FreshnessChanged is closed when the mirror next turns stale or fresh, but not when it ends: Done is.
// Take it before State, so that no change falls between.
func (m *Mirror) FreshnessChanged() <-chan struct{} {
	m.replica.mu.Lock()
	defer m.replica.mu.Unlock()
	return m.replica.turned
}

// Wait returns when the copy is at the revision or later: after a write, with the revision in
// the header of its answer, it makes the mirror show that write. A revision of an earlier epoch
// may never come. The error is ctx's, with the reason if the copy is stale, or ErrClosed.
func (m *Mirror) Wait(ctx context.Context, revision int64) error {
	const usual = 20 * time.Millisecond // an event is there by then, and progress need not be asked for
	late := time.NewTimer(usual)
	defer late.Stop()
	for {
		moved, there := m.moved(revision)
		if there {
			return nil
		}
		select {
		case <-moved:
		case <-late.C:
			m.replica.confirmSoon()
		case <-ctx.Done():
			return m.waited(ctx, revision)
		case <-m.life.Done():
			return m.Err()
		}
	}
}

// moved tells whether the copy is at the revision, or is a channel that is closed at the next
// snapshot.
func (m *Mirror) moved(revision int64) (<-chan struct{}, bool) {
	r := m.replica
	r.mu.Lock()
	defer r.mu.Unlock()
	if m.Snapshot().revision >= revision {
		return nil, true
	}
	if r.moved == nil {
		r.moved = make(chan struct{})
	}
	return r.moved, false
}

func (m *Mirror) waited(ctx context.Context, revision int64) error {
	s := m.State()
	why := ask.Of(m.replica.cli).Outage() // where, and the latest reason
	if why == nil {
		why = s.Cause
	}
	if why != nil {
		return errtext.Errorf("mirror: wait for revision %d of %q, at %d: %w; %w", revision, m.replica.prefix, s.Revision, context.Cause(ctx), why)
	}
	return errtext.Errorf("mirror: wait for revision %d of %q, at %d: %w", revision, m.replica.prefix, s.Revision, context.Cause(ctx))
}

package mirror

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/ask"
	"github.com/etcdkit/etcdkit/internal/cause"
)

// errClient is why a mirror has ended that was not closed.
var errClient = cause.Errorf("%w: %w", ErrClosed, ask.ErrClosed)

// replica is the copy behind mirrors of the same prefix, and what keeps it up to date.
type replica struct {
	target
	uses       int    // guarded by replicas.mu
	first, end string // the prefix as a range of keys
	opts       Options
	log        *slog.Logger

	snapshot   atomic.Pointer[Snapshot]
	confirmNow chan struct{} // wakes the next confirmation

	life    context.Context // ends with the last use, or with the client
	stop    context.CancelCauseFunc
	ended   context.Context // ends when run has; its cause is what mirrors say
	endWith context.CancelCauseFunc

	// Of run:
	tree         *tree         // what is published next; readers never see it
	lastChanged  *KeyValue     // a key by which the history is recognised; nil: the tree is empty
	bytes        int           // of the tree's keys and values
	took         time.Duration // what the last reading took
	slow         time.Duration // 1, or by how much more time small requests get
	silent       int           // watches in a row that did not deliver what they owed
	rereadsInRow int           // readings in a row because of Behind, which no watch has confirmed

	mu       sync.Mutex
	err      error // why it has ended
	record   record
	readers  map[*reader]struct{}
	moved    chan struct{} // closed at the next snapshot; nil while none waits
	progress chan struct{} // closed at the next confirmation or failure; nil while none waits
	turned   chan struct{} // closed when it turns stale or fresh
	aging    *time.Timer   // reports that it has turned stale by growing old
}

func newReplica(t target) *replica {
	m := &replica{
		target: t, first: t.prefix, end: clientv3.GetPrefixRangeEnd(t.prefix),
		opts:       Options{ConfirmEvery: t.confirmEvery, WatchTimeout: t.watchTimeout},
		log:        slog.New(slog.DiscardHandler),
		confirmNow: make(chan struct{}, 1),
		slow:       1,
		readers:    make(map[*reader]struct{}), turned: make(chan struct{}),
	}
	if t.prefix == "" {
		m.first, m.end = "\x00", "\x00" // etcd's way to say: all
	}
	if t.logger != nil {
		m.log = t.logger.With("prefix", t.prefix)
	}
	m.life, m.stop = context.WithCancelCause(t.cli.Ctx())
	m.ended, m.endWith = context.WithCancelCause(context.Background())
	m.aging = time.AfterFunc(time.Hour, m.report)
	m.aging.Stop()
	m.record.Rereads = make(map[Reason]uint64)
	m.snapshot.Store(&Snapshot{})
	return m
}

// Snapshot returns the newest snapshot.
func (m *replica) Snapshot() *Snapshot { return m.snapshot.Load() }

// confirmSoon has the copy confirmed now.
func (m *replica) confirmSoon() {
	select {
	case m.confirmNow <- struct{}{}:
	default:
	}
}

// run reads the prefix and keeps the copy up to date until life ends, or until etcd refuses the
// first reading.
func (m *replica) run() {
	err := m.firstCopy(m.life)
	if err == nil {
		m.keepUp(m.life)
		err = m.closed()
	}
	replicas.mu.Lock()
	m.forget()
	replicas.mu.Unlock()
	m.mu.Lock()
	m.err = err
	m.record.MemberID = 0
	m.mu.Unlock()
	m.aging.Stop()
	m.endWith(err)
}

// closed is why life has ended.
func (m *replica) closed() error {
	if context.Cause(m.life) == ErrClosed {
		return ErrClosed
	}
	return errClient
}

// firstCopy reads until it has a complete copy, or must not go on.
func (m *replica) firstCopy(life context.Context) error {
	pause := m.backoff()
	for life.Err() == nil {
		r, err := m.read(life)
		switch {
		case err == nil:
			m.install(r, "")
			return nil
		case denied(err):
			return refusal(err)
		}
		m.recordTrouble(err)
		_ = pause.Wait(life) // life tells
	}
	return m.closed()
}

// unreached is the error of an Open whose context has ended.
func (m *replica) unreached(ctx context.Context, trouble error) error {
	if trouble == nil { // it is being read
		return cause.Errorf("no complete copy from %s: %w", strings.Join(m.cli.Endpoints(), ", "), context.Cause(ctx))
	}
	return cause.Errorf("no complete copy: %w", ask.Of(m.cli).GaveUp(ctx, trouble))
}

// backoff spaces attempts. In an outage they wait for the client's prober.
func (m *replica) backoff() *ask.Backoff {
	return ask.Of(m.cli).Backoff(50*time.Millisecond, time.Second)
}

// publish makes a batch visible: its snapshot to readers of the newest one, and the batch to readers of
// changes. It may be empty.
func (m *replica) publish(b *Batch) {
	m.mu.Lock()
	defer m.mu.Unlock()
	was := m.Snapshot()
	b.Snapshot.seq = was.seq + 1
	m.snapshot.Store(b.Snapshot)
	if b.advances(was) {
		for r := range m.readers {
			if r.of.final == nil {
				r.push(b)
			}
		}
	}
	if m.moved != nil {
		close(m.moved)
		m.moved = nil
	}
}

// install replaces the copy by a new reading, tells readers the difference, and returns it. The
// reason is empty for the first one, which no reader can have seen.
func (m *replica) install(r *reading, reason Reason) *Batch {
	was := m.Snapshot()
	m.tree, m.lastChanged, m.bytes, m.took = r.tree, r.newest, r.bytes, r.took
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

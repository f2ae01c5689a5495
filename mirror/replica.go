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
	"github.com/etcdkit/etcdkit/internal/errtext"
)

// errClient is why a mirror has ended that was not closed.
var errClient = errtext.Errorf("%w: %w", ErrClosed, ask.ErrClosed)

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
	loadTime     time.Duration // what the last reading took
	timeFactor   time.Duration // 1, or by how much more time small requests get
	silent       int           // watches in a row that did not deliver what they owed
	rereadsInRow int           // readings in a row because of Behind, which no watch has confirmed

	mu         sync.Mutex
	err        error // why it has ended
	record     record
	readers    map[*reader]struct{}
	moved      chan struct{} // closed at the next snapshot; nil while none waits
	progress   chan struct{} // closed at the next confirmation or failure; nil while none waits
	turned     chan struct{} // closed when it turns stale or fresh
	staleTimer *time.Timer   // reports that it has turned stale by growing old
}

func newReplica(t target) *replica {
	r := &replica{
		target: t, first: t.prefix, end: clientv3.GetPrefixRangeEnd(t.prefix),
		opts:       Options{ConfirmEvery: t.confirmEvery, WatchTimeout: t.watchTimeout},
		log:        slog.New(slog.DiscardHandler),
		confirmNow: make(chan struct{}, 1),
		timeFactor: 1,
		readers:    make(map[*reader]struct{}), turned: make(chan struct{}),
	}
	if t.prefix == "" {
		r.first, r.end = allAfter, allAfter // NUL is the least key that etcd takes
	}
	if t.rangeEnd != "" {
		r.end = t.rangeEnd
	}
	if t.logger != nil {
		r.log = t.logger.With("prefix", t.prefix)
	}
	r.life, r.stop = context.WithCancelCause(t.cli.Ctx())
	r.ended, r.endWith = context.WithCancelCause(context.Background())
	r.staleTimer = time.AfterFunc(time.Hour, r.report)
	r.staleTimer.Stop()
	r.record.Rereads = make(map[Reason]uint64)
	r.snapshot.Store(&Snapshot{})
	return r
}

// Snapshot returns the newest snapshot.
func (r *replica) Snapshot() *Snapshot { return r.snapshot.Load() }

// confirmSoon has the copy confirmed now.
func (r *replica) confirmSoon() {
	select {
	case r.confirmNow <- struct{}{}:
	default:
	}
}

// run reads the prefix and keeps the copy up to date until life ends, or until etcd refuses the
// first reading.
func (r *replica) run() {
	err := r.firstCopy(r.life)
	if err == nil {
		r.keepUp(r.life)
		err = r.closed()
	}
	replicas.mu.Lock()
	r.forget()
	replicas.mu.Unlock()
	r.mu.Lock()
	r.err = err
	r.record.MemberID = 0
	r.mu.Unlock()
	r.staleTimer.Stop()
	r.endWith(err)
}

// closed is why life has ended.
func (r *replica) closed() error {
	if context.Cause(r.life) == ErrClosed {
		return ErrClosed
	}
	return errClient
}

// firstCopy reads until it has a complete copy, or must not go on.
func (r *replica) firstCopy(life context.Context) error {
	pause := r.backoff()
	for life.Err() == nil {
		loaded, err := r.read(life)
		switch {
		case err == nil:
			r.install(loaded, "")
			return nil
		case denied(err):
			return refusal(err)
		}
		r.recordTrouble(err)
		_ = pause.Wait(life) // life tells
	}
	return r.closed()
}

// unreached is the error of an Open whose context has ended.
func (r *replica) unreached(ctx context.Context, trouble error) error {
	if trouble == nil { // it is being read
		return errtext.Errorf("no complete copy from %s: %w", strings.Join(r.cli.Endpoints(), ", "), context.Cause(ctx))
	}
	return errtext.Errorf("no complete copy: %w", ask.Of(r.cli).GaveUp(ctx, trouble))
}

// backoff spaces attempts. In an outage they wait for the client's prober.
func (r *replica) backoff() *ask.Backoff {
	return ask.Of(r.cli).Backoff(50*time.Millisecond, time.Second)
}

// publish makes a batch visible: its snapshot to readers of the newest one, and the batch to readers of
// changes. It may be empty.
func (r *replica) publish(b *Batch) {
	r.mu.Lock()
	defer r.mu.Unlock()
	was := r.Snapshot()
	b.Snapshot.seq = was.seq + 1
	r.snapshot.Store(b.Snapshot)
	if b.advances(was) {
		for reader := range r.readers {
			if reader.of.final == nil {
				reader.push(b)
			}
		}
	}
	if r.moved != nil {
		close(r.moved)
		r.moved = nil
	}
}

// install replaces the copy by a new reading, tells readers the difference, and returns it. The
// reason is empty for the first one, which no reader can have seen.
func (r *replica) install(loaded *reading, reason Reason) *Batch {
	was := r.Snapshot()
	r.tree, r.lastChanged, r.bytes, r.loadTime = loaded.tree, loaded.newest, loaded.bytes, loaded.loadTime
	b := &Batch{Snapshot: &Snapshot{tree: r.tree.Copy(), revision: loaded.revision, epoch: was.epoch}}
	if reason != "" {
		b = between(was, b.Snapshot)
	}
	r.mu.Lock()
	if reason != "" {
		switch {
		case loaded.cluster != r.record.ClusterID:
			reason = OtherCluster
		case loaded.revision < was.revision:
			reason = Regressed
		case slices.ContainsFunc(b.Changes, func(c Change) bool { return c.New != nil && c.New.ModRevision <= was.revision }):
			reason = Diverged // it would have been in the copy
		}
		r.record.Rereads[reason]++
		if reason.breaks() {
			b.Snapshot.epoch++
		}
	}
	r.record.ClusterID = loaded.cluster
	r.mu.Unlock()
	r.publish(b)
	r.confirm(loaded.asked, loaded.revision)
	return b
}

package election

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/ask"
	"github.com/etcdkit/etcdkit/internal/queue"
	"github.com/etcdkit/etcdkit/mirror"
)

// leaderTimeout bounds a Leader whose context has no deadline.
const leaderTimeout = 15 * time.Second

// Leader is the leader at one moment.
type Leader struct {
	Key      string
	Value    string // that it campaigned with, or proclaimed since
	Token    int64  // of its term; 0: there is no leader
	Revision int64  // of etcd: at which the value was written; while there is none, at which that was seen
}

// Vacant tells whether there is no leader.
func (l Leader) Vacant() bool { return l.Token == 0 }

// Leader asks etcd for the leader with one linearizable request, and waits for the answer until ctx is
// done, or for 15 s. The error is ErrVacant if there is no leader.
func (e *Election) Leader(ctx context.Context) (Leader, error) {
	if e.handle.Invalid != nil {
		return Leader{}, e.handle.Invalid
	}
	ctx, cancel := context.WithTimeout(ctx, leaderTimeout)
	defer cancel()
	ctx, done := ask.Of(e.handle.Client).WhileOpen(ctx) // a closed client ends it at once
	defer done()
	resp, err := e.handle.Client.Get(ctx, e.prefix(), clientv3.WithFirstCreate()...)
	if err != nil {
		return Leader{}, e.readError("ask for the leader of", ask.Of(e.handle.Client).Explain(err))
	}
	if len(resp.Kvs) == 0 {
		return Leader{}, fmt.Errorf("%w of %q", ErrVacant, e.handle.Name)
	}
	kv := resp.Kvs[0]
	return Leader{string(kv.Key), string(kv.Value), kv.CreateRevision, kv.ModRevision}, nil
}

// Observe yields the leader, and again at each change of the leader or its value, also when there is
// none any longer. A slow reader gets the newest. While etcd cannot be reached, Observe yields nothing,
// and then the new state. It ends by break, or with one final error: ctx's, ErrClosed if the client was
// closed, or that of mirror.Open.
func (e *Election) Observe(ctx context.Context) iter.Seq2[Leader, error] {
	return func(yield func(Leader, error) bool) {
		if e.handle.Invalid != nil {
			yield(Leader{}, e.handle.Invalid)
			return
		}
		m, err := mirror.Open(ctx, e.handle.Client, e.prefix(), nil)
		if err != nil {
			yield(Leader{}, e.readError("observe", queue.Where(e.handle.Client, err)))
			return
		}
		defer m.Close()
		first := m.Snapshot()
		last := leader(first)
		if !yield(last, nil) {
			return
		}
		for b, err := range m.Changes(ctx, &mirror.ChangesOptions{From: first}) {
			if err != nil {
				yield(Leader{}, e.readError("observe", err))
				return
			}
			now := leader(b.Snapshot)
			if now.Vacant() && last.Vacant() || now == last {
				continue
			}
			if last = now; !yield(now, nil) {
				return
			}
		}
	}
}

// readError is the error of a call that reads. After Close such a call goes on: it is ErrClosed only if
// the client was closed.
func (e *Election) readError(verb string, err error) error {
	if ask.Of(e.handle.Client).Err() != nil && !errors.Is(err, ErrClosed) {
		return e.handle.Errorf(verb, "%w: %w", ErrClosed, err)
	}
	return e.handle.Errorf(verb, "%w", err)
}

// leader returns the oldest entry.
func leader(s *mirror.Snapshot) Leader {
	l := Leader{Revision: s.Revision()}
	for kv := range s.All() {
		if l.Vacant() || kv.CreateRevision < l.Token {
			l = Leader{kv.Key, kv.Value, kv.CreateRevision, kv.ModRevision}
		}
	}
	return l
}

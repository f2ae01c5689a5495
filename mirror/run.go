package mirror

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/etcdkit/etcdkit/internal/cause"
)

// lost is the error that says: only reading again helps.
type lost struct {
	reason Reason
	detail string
}

func (e *lost) Error() string        { return fmt.Sprintf("%v: %s: %s", ErrGap, e.reason, e.detail) }
func (e *lost) Is(target error) bool { return target == ErrGap }

func refusal(err error) error { return cause.Errorf("%w: %w", ErrDenied, err) }

// keepUp keeps the copy up to date until life ends.
func (m *replica) keepUp(life context.Context) {
	pause := m.backoff()
	for life.Err() == nil {
		began := m.confirmed()
		err := m.follow(life)
		if life.Err() != nil {
			return
		}
		if m.confirmed() != began {
			pause.Reset()
		}
		var gap *lost
		switch {
		case errors.Is(err, rpctypes.ErrCompacted):
			m.reread(life, &lost{Compacted, fmt.Sprintf("later than revision %d", m.Snapshot().revision)})
		case errors.As(err, &gap):
			m.reread(life, gap)
			if gap.reason == Behind { // what is written in a pause is what the next watch is behind by
				m.chased++
				continue
			}
		case denied(err):
			m.suffer(refusal(err))
			m.rest(life)
			continue
		default:
			m.suffer(err)
		}
		_ = pause.Wait(life) // life tells
	}
}

// reread replaces the copy after a gap. It tries until that succeeds or life ends.
func (m *replica) reread(life context.Context, gap *lost) {
	m.suffer(gap)
	pause := m.backoff()
	for life.Err() == nil {
		r, err := m.read(life)
		if err == nil {
			b := m.install(r, gap.reason)
			m.log.Warn("mirror read again", "cause", gap, "changes", len(b.Changes), "revision", r.revision, "epoch", b.Snapshot.epoch)
			return
		}
		var least time.Duration
		if denied(err) {
			err, least = refusal(err), m.opts.ConfirmEvery
		}
		m.suffer(cause.Errorf("%w; reading again: %w", gap, err))
		_ = pause.WaitAtLeast(life, least)
	}
}

// rest waits before a question that etcd has refused, unless a caller wants its answer now.
func (m *replica) rest(life context.Context) {
	again := time.NewTimer(m.opts.ConfirmEvery)
	defer again.Stop()
	select {
	case <-again.C:
	case <-m.kick:
	case <-life.Done():
	}
}

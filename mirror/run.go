package mirror

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/etcdkit/etcdkit/internal/cause"
)

// gapError says that only reading again helps.
type gapError struct {
	reason Reason
	detail string
}

func (e *gapError) Error() string        { return fmt.Sprintf("%v: %s: %s", ErrGap, e.reason, e.detail) }
func (e *gapError) Is(target error) bool { return target == ErrGap }

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
		var gap *gapError
		switch {
		case errors.Is(err, rpctypes.ErrCompacted):
			m.reread(life, &gapError{Compacted, fmt.Sprintf("later than revision %d", m.Snapshot().revision)})
		case errors.As(err, &gap):
			m.reread(life, gap)
			if gap.reason == Behind { // what is written in a pause is what the next watch is behind by
				m.rereadsInRow++
				continue
			}
		case denied(err):
			m.recordTrouble(refusal(err))
			m.waitBeforeRetry(life)
			continue
		default:
			m.recordTrouble(err)
		}
		_ = pause.Wait(life) // life tells
	}
}

// reread replaces the copy after a gap. It tries until that succeeds or life ends.
func (m *replica) reread(life context.Context, gap *gapError) {
	m.recordTrouble(gap)
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
		m.recordTrouble(cause.Errorf("%w; reading again: %w", gap, err))
		_ = pause.WaitAtLeast(life, least)
	}
}

// waitBeforeRetry waits before a question that etcd has refused, unless a caller wants its answer now.
func (m *replica) waitBeforeRetry(life context.Context) {
	again := time.NewTimer(m.opts.ConfirmEvery)
	defer again.Stop()
	select {
	case <-again.C:
	case <-m.confirmNow:
	case <-life.Done():
	}
}

package mirror

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

// lost is the error that says: only reading again helps.
type lost struct {
	reason Reason
	detail string
}

func (e *lost) Error() string        { return fmt.Sprintf("%v: %s: %s", ErrGap, e.reason, e.detail) }
func (e *lost) Is(target error) bool { return target == ErrGap }

func refusal(err error) error { return fmt.Errorf("%w: %w", ErrDenied, err) }

// run keeps the copy up to date until life ends.
func (m *Mirror) run(life context.Context) {
	defer m.finish(life)
	pause := m.backoff()
	for life.Err() == nil {
		began := m.State().Confirmed
		err := m.follow(life)
		if life.Err() != nil {
			return
		}
		if m.State().Confirmed != began {
			pause = m.backoff()
		}
		var gap *lost
		switch {
		case errors.Is(err, rpctypes.ErrCompacted):
			m.reread(life, &lost{Compacted, fmt.Sprintf("later than revision %d", m.Snapshot().revision)})
		case errors.As(err, &gap):
			m.reread(life, gap)
		case denied(err):
			m.suffer(refusal(err))
			pause.wait(life, m.opts.ConfirmEvery)
			continue
		default:
			m.suffer(err)
		}
		pause.wait(life, 0)
	}
}

// reread replaces the copy after a gap. It tries until that succeeds or life ends.
func (m *Mirror) reread(life context.Context, gap *lost) {
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
		m.suffer(fmt.Errorf("%w; reading again: %w", gap, err))
		pause.wait(life, least)
	}
}

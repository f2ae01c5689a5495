package mirror

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/etcdkit/etcdkit/internal/errtext"
)

// gapError says that only reading again helps.
type gapError struct {
	reason Reason
	detail string
}

func (e *gapError) Error() string        { return fmt.Sprintf("%v: %s: %s", ErrGap, e.reason, e.detail) }
func (e *gapError) Is(target error) bool { return target == ErrGap }

func refusal(err error) error { return errtext.Errorf("%w: %w", ErrDenied, err) }

// keepUp keeps the copy up to date until life ends.
func (r *replica) keepUp(life context.Context) {
	pause := r.backoff()
	for life.Err() == nil {
		began := r.confirmed()
		err := r.follow(life)
		if life.Err() != nil {
			return
		}
		if r.confirmed() != began {
			pause.Reset()
		}
		var gap *gapError
		switch {
		case errors.Is(err, rpctypes.ErrCompacted):
			r.reread(life, &gapError{Compacted, fmt.Sprintf("later than revision %d", r.Snapshot().revision)})
		case errors.As(err, &gap):
			r.reread(life, gap)
			if gap.reason == Behind { // what is written in a pause is what the next watch is behind by
				r.rereadsInRow++
				continue
			}
		case denied(err):
			r.recordTrouble(refusal(err))
			r.waitBeforeRetry(life)
			continue
		default:
			r.recordTrouble(err)
		}
		_ = pause.Wait(life) // life tells
	}
}

// reread replaces the copy after a gap. It tries until that succeeds or life ends.
func (r *replica) reread(life context.Context, gap *gapError) {
	r.recordTrouble(gap)
	pause := r.backoff()
	for life.Err() == nil {
		loaded, err := r.read(life)
		if err == nil {
			b := r.install(loaded, gap.reason)
			r.log.Warn("mirror read again", "cause", gap, "changes", len(b.Changes), "revision", loaded.revision, "epoch", b.Snapshot.epoch)
			return
		}
		var least time.Duration
		if denied(err) {
			err, least = refusal(err), r.opts.ConfirmEvery
		}
		r.recordTrouble(errtext.Errorf("%w; reading again: %w", gap, err))
		_ = pause.WaitAtLeast(life, least)
	}
}

// waitBeforeRetry waits before a question that etcd has refused, unless a caller wants its answer now.
func (r *replica) waitBeforeRetry(life context.Context) {
	again := time.NewTimer(r.opts.ConfirmEvery)
	defer again.Stop()
	select {
	case <-again.C:
	case <-r.confirmNow:
	case <-life.Done():
	}
}

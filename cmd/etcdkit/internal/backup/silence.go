package backup

import (
	"context"
	"time"

	"github.com/etcdkit/etcdkit/internal/ask"
)

// silenceTimeout is how long a member may send nothing of its snapshot.
const silenceTimeout = 30 * time.Second

// silence ends a context when nothing resets it.
func silence(cancel context.CancelCauseFunc) *time.Timer {
	return time.AfterFunc(silenceTimeout, func() { cancel(ask.NoAnswerWithin(silenceTimeout)) })
}

package queue

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/ask"
)

const (
	// patience is how long a call waits before the log says which holder it waits for.
	patience = 1500 * time.Millisecond
	// maxLogPause is the longest pause between two looks at the queue by the log, after changes.
	maxLogPause = time.Minute
	// maxLogged is how many entries the log looks at.
	maxLogged = 5
)

// WaitLog writes to a log which holder the calls of a handle wait for, once they have waited for
// 1.5 s: one line for all of them, and another one when the holder has changed. It costs one read of
// the queue for each line, and a watch on the holder's entry; with a nil logger nothing.
type WaitLog struct {
	cli             *clientv3.Client
	name            string
	log             *slog.Logger
	waiting, gained string                           // messages
	holder          func(name string, f Found) []any // attributes of an entry

	mu          sync.Mutex
	waitingLong int // calls that have waited for long
	stop        context.CancelFunc
	done        chan struct{}
}

// NewWaitLog returns one for the calls of a handle. waiting and gained are the messages that a call
// waits, and that it has what it waited for; an empty one is not written.
func NewWaitLog(cli *clientv3.Client, name string, log *slog.Logger, waiting, gained string, holder func(name string, f Found) []any) *WaitLog {
	if log == nil {
		return nil
	}
	return &WaitLog{cli: cli, name: name, log: log, waiting: waiting, gained: gained, holder: holder}
}

// Wait is one call that waits.
type Wait struct {
	of       *WaitLog
	began    time.Time
	timer    *time.Timer
	reported bool // guarded by of.mu
	over     bool // guarded by of.mu
}

// Start is called when a call begins to wait. It is nil without a logger.
func (a *WaitLog) Start() *Wait {
	if a == nil {
		return nil
	}
	w := &Wait{of: a, began: time.Now()}
	w.timer = time.AfterFunc(patience, w.report)
	return w
}

// report has the log say what the call waits for.
func (w *Wait) report() {
	a := w.of
	a.mu.Lock()
	defer a.mu.Unlock()
	if w.over {
		return
	}
	w.reported = true
	if a.waitingLong++; a.waitingLong > 1 {
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	a.stop, a.done = stop, make(chan struct{})
	go a.run(ctx, w.began, a.done) // ends with the last call that waits, which waits for it
}

// End is called when the call returns.
func (w *Wait) End(err error) {
	if w == nil || w.timer.Stop() {
		return
	}
	a := w.of
	a.mu.Lock()
	w.over = true
	told := w.reported
	var done chan struct{}
	if told {
		if a.waitingLong--; a.waitingLong == 0 {
			a.stop()
			done = a.done
		}
	}
	a.mu.Unlock()
	if done != nil {
		<-done
	}
	if told && err == nil && a.gained != "" {
		a.log.Info(a.gained, "name", a.name, "waited", time.Since(w.began).Round(time.Millisecond))
	}
}

// run logs which client holds it, and again when that has changed: after a pause that grows, so that a queue
// that moves quickly does not fill the log.
func (a *WaitLog) run(ctx context.Context, began time.Time, done chan struct{}) {
	defer close(done)
	var said string
	for pause := patience; ; pause = min(2*pause, maxLogPause) {
		first, all, revision, err := a.look(ctx)
		switch waited := time.Since(began).Round(100 * time.Millisecond); {
		case ctx.Err() != nil:
			return
		case err != nil && said != "?":
			said = "?"
			trouble := ", and etcd does not answer"
			if ask.IsAnswer(err) {
				trouble = ", and etcd refuses to say for which holder"
			}
			a.log.Warn(a.waiting+trouble, "name", a.name, "endpoints", a.cli.Endpoints(), "waited", waited, "error", err.Error())
		case first != nil && fmt.Sprint(first.Key, first.Revision) != said:
			said = fmt.Sprint(first.Key, first.Revision)
			attrs := append([]any{"name", a.name}, a.holder(a.name, *first)...)
			a.log.Info(a.waiting, append(attrs, "waited", waited, "entries", all)...)
		}
		if first != nil {
			a.waitForDeletion(ctx, first, revision)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
}

// look returns the oldest entry that holds it, or nil, and how many entries there are.
func (a *WaitLog) look(ctx context.Context) (first *Found, all int, revision int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	q, err := Read(ctx, a.cli, a.name, maxLogged)
	switch {
	case err != nil && ask.TimeIsUp(err):
		return nil, 0, 0, ask.NoAnswerWithin(tryTimeout)
	case err != nil:
		return nil, 0, 0, err
	}
	if i := slices.IndexFunc(q.Entries, func(f Found) bool { return f.Turn }); i >= 0 {
		first = &q.Entries[i]
	}
	return first, q.Count, q.Revision, nil
}

// waitForDeletion returns when the entry is deleted, or the watch ends.
func (a *WaitLog) waitForDeletion(ctx context.Context, f *Found, revision int64) {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	for resp := range a.cli.Watch(ctx, f.Key, clientv3.WithRev(revision+1), clientv3.WithFilterPut()) {
		if len(resp.Events) > 0 || resp.Err() != nil {
			return
		}
	}
}

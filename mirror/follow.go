package mirror

import (
	"context"
	"errors"
	"fmt"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

const (
	// smallTimeout bounds a small read and the opening of a watch, smallStagger how long one
	// silent member holds them up.
	smallTimeout = 5 * time.Second
	smallStagger = 250 * time.Millisecond
	// askAgain spaces questions that were not answered.
	askAgain = 500 * time.Millisecond
	// progressAgain spaces progress requests: while a watch lags its member does not answer.
	progressAgain = 100 * time.Millisecond
)

// errOwed: a watch owed an answer for longer than the mirror's patience.
var errOwed = errors.New("the watch is silent")

// follower applies one watch, from its opening to its end, and has the copy confirmed.
//
// A confirmation is a linearizable read, which says what revision etcd has come to, and then
// word of the watch that it is there too. The read alone says nothing about the watch; progress
// alone nothing about a member that was cut off from the others and does not know it yet.
type follower struct {
	*Mirror
	watch *stream

	answers chan answer
	asking  bool // an answer is under way

	asked  time.Time // when the read was sent whose revision is
	target int64     // what the watch must come to, and
	owing  bool      // it has not yet

	next     *time.Timer // to the next question
	deadline *time.Timer // of a watch that is owing
	again    *time.Timer // for the next progress request
}

// follow opens a watch where the copy ends and applies it until it ends. The error says why; it
// is a lost or ErrCompacted when it cannot be continued by another one.
func (m *Mirror) follow(life context.Context) error {
	life, cancel := context.WithCancel(life)
	defer cancel()
	watch, err := m.openWatch(life)
	if err != nil {
		return err
	}
	defer func() {
		watch.close()
		m.mu.Lock()
		m.record.MemberID = 0
		m.mu.Unlock()
	}()
	if err := m.checkCluster(watch.header); err != nil {
		return err
	}
	f := &follower{Mirror: m, watch: watch, answers: make(chan answer, 1)}
	f.next, f.deadline, f.again = stopped(), stopped(), stopped()
	defer f.next.Stop()
	defer f.deadline.Stop()
	defer f.again.Stop()
	f.ask(life)
	defer func() {
		cancel()
		if f.asking {
			<-f.answers
		}
	}()
	return f.follow(life)
}

// checkCluster compares the ID in an answer with that of the cluster that the copy is of.
func (m *Mirror) checkCluster(got *pb.ResponseHeader) error {
	m.mu.Lock()
	want := m.record.ClusterID
	m.mu.Unlock()
	if got.ClusterId != want {
		return &lost{OtherCluster, fmt.Sprintf("%x instead of %x", got.ClusterId, want)}
	}
	return nil
}

func stopped() *time.Timer {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return t
}

func (m *Mirror) openWatch(life context.Context) (*stream, error) {
	ctx, cancel := context.WithTimeout(life, smallTimeout)
	defer cancel()
	from := m.Snapshot().revision + 1
	watch, err := race(ctx, 3, smallStagger, func(ctx context.Context) (*stream, error) {
		return openStream(ctx, life, m.cli, m.first, m.end, from)
	}, (*stream).close)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	m.record.Watches++
	m.record.MemberID = watch.header.MemberId
	m.mu.Unlock()
	return watch, nil
}

func (f *follower) follow(life context.Context) error {
	// Nothing is taken from the watch before the history is known to be the one that the copy
	// is of: it may be served by a database that was wiped and has come as far.
	var responses chan *pb.WatchResponse
	for {
		kick := f.kick
		if f.asking || f.owing {
			kick = nil // later: one question at a time
		}
		select {
		case <-life.Done():
			return life.Err()
		case a := <-f.answers:
			f.asking = false
			if err := f.take(a); err != nil {
				return err
			}
			if a.err == nil {
				responses = f.watch.responses
			}
		case r, ok := <-responses:
			if !ok {
				return f.watch.err
			}
			if err := f.apply(r); err != nil {
				return err
			}
			f.settle()
		case <-f.next.C:
			f.ask(life)
		case <-kick:
			f.ask(life)
		case <-f.again.C:
			f.watch.askProgress()
			f.again.Reset(progressAgain)
		case <-f.deadline.C:
			return f.giveUp()
		}
	}
}

// ask sends a question.
func (f *follower) ask(life context.Context) {
	f.asking = true
	f.next.Stop()
	c := f.claim()
	go func() { f.answers <- f.verify(life, c) }() // follow waits for it
}

// take deals with the answer. Its error is a lost.
func (f *follower) take(a answer) error {
	var gap *lost
	switch {
	case errors.As(a.err, &gap):
		return a.err
	case denied(a.err):
		f.suffer(refusal(a.err))
		f.next.Reset(f.opts.ConfirmEvery)
	case a.err != nil:
		f.suffer(a.err)
		f.next.Reset(min(f.opts.ConfirmEvery, askAgain))
	default:
		f.asked, f.target, f.owing = a.asked, a.revision, true
		f.deadline.Reset(f.patience)
		f.again.Reset(progressAgain)
		if f.Snapshot().revision < f.target {
			f.watch.askProgress()
		}
		f.settle()
	}
	return nil
}

// settle confirms the copy if it has come to where the last answer saw etcd. It may be there
// without a word of the watch; the member would not give it then, as a watch that begins after
// its newest revision gets no progress notice.
func (f *follower) settle() {
	if !f.owing || f.Snapshot().revision < f.target {
		return
	}
	f.owing, f.patience = false, f.opts.Patience
	f.deadline.Stop()
	f.again.Stop()
	f.next.Reset(f.opts.ConfirmEvery)
	f.confirm(f.asked, f.target)
}

// giveUp ends a watch that owes an answer. The next one goes to another member.
func (f *follower) giveUp() error {
	f.mu.Lock()
	f.record.Replaced++
	f.mu.Unlock()
	err := fmt.Errorf("%w: member %x is at revision %d and owes %d for %v", errOwed, f.watch.header.MemberId, f.Snapshot().revision, f.target, f.patience)
	f.log.Warn("mirror replaces its watch", "cause", err)
	f.patience = min(2*f.patience, 8*f.opts.Patience)
	return err
}

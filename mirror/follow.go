package mirror

import (
	"context"
	"errors"
	"fmt"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/etcdkit/etcdkit/internal/ask"
)

const (
	// smallTimeout bounds a small read and the opening of a watch, smallStagger how long one
	// silent member holds them up. Both double each time that was not enough, up to smallMost
	// times: an etcd that has to check passwords again can need many seconds, and would never
	// get done with what starts over.
	smallTimeout = 5 * time.Second
	smallStagger = 250 * time.Millisecond
	smallMost    = 8
	// askAgain spaces questions that were not answered.
	askAgain = 500 * time.Millisecond
	// progressAgain spaces progress requests: while a watch lags its member does not answer.
	progressAgain = 100 * time.Millisecond
	// silentMost is how many watches in a row may fall silent before the prefix is read again, and
	// then after each one, until a watch has delivered. One or two are members that were cut off a
	// moment ago and do not know it yet.
	silentMost = 3
	// lagMost is how long a watch may lag by thousands of revisions, even while it moves.
	lagMost = 5 * time.Second
)

// errSilentWatch: a watch owed events for longer than it may be silent.
var errSilentWatch = errors.New("the watch is silent")

// follower applies one watch, from its opening to its end, and has the copy confirmed.
//
// A confirmation is a linearizable read, which says what revision etcd has come to, and then
// the watch must say that it is there, too. The read alone says nothing about the watch; progress
// alone nothing about a member that was cut off from the others and does not know it yet.
type follower struct {
	*replica
	watch *stream

	answers chan answer
	asking  bool // an answer is under way

	asked          time.Time // when the latest read was sent
	target         int64     // the revision that it saw: the watch must come to it
	awaitingEvents bool      // it has not yet come to it
	since          time.Time // when it began to owe events
	received       uint64    // messages of the watch with events, when the deadline was set

	next     *time.Timer // to the next question
	deadline *time.Timer // of a watch that owes events
	again    *time.Timer // for the next progress request
}

// follow opens a watch where the copy ends and applies it until it ends. The error says why; it
// is a gapError or ErrCompacted when it cannot be continued by another one.
func (r *replica) follow(life context.Context) error {
	life, cancel := context.WithCancel(life)
	defer cancel()
	watch, err := r.openWatch(life)
	if err != nil {
		return err
	}
	defer func() {
		watch.close()
		r.mu.Lock()
		r.record.MemberID = 0
		r.mu.Unlock()
	}()
	if err := r.checkCluster(watch.header); err != nil {
		return err
	}
	if now := watch.header.Revision; r.behind(now) { // the watch ends before the member serves it
		return r.lagging(now)
	}
	f := &follower{replica: r, watch: watch, answers: make(chan answer, 1)}
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
	return f.run(life)
}

// checkCluster compares the ID in an answer with that of the cluster that the copy is of.
func (r *replica) checkCluster(got *pb.ResponseHeader) error {
	r.mu.Lock()
	want := r.record.ClusterID
	r.mu.Unlock()
	if got.ClusterId != want {
		return &gapError{OtherCluster, fmt.Sprintf("%x instead of %x", got.ClusterId, want)}
	}
	return nil
}

func stopped() *time.Timer {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return t
}

// behind tells whether reading the prefix is cheaper than a watch that resumes where the copy ends.
// For such a watch the member reads every revision since then, whatever its keys, under a lock that
// all writes need (etcd#22264). It does so every 100 ms, and sends 1,000 revisions each time.
//
// What is too much doubles with each reading that no watch has confirmed: where so much is written
// while the prefix is read that the next watch is as far behind, a watch has to catch up all the same.
func (r *replica) behind(revision int64) bool {
	const few, perKey = 1000, 16 // a key that is read costs about a 16th of a revision that is sent
	most := int64(few+r.Snapshot().Len()/perKey) << min(r.rereadsInRow, 20)
	return revision-r.Snapshot().revision > most
}

func (r *replica) lagging(revision int64) error {
	return &gapError{Behind, fmt.Sprintf("at revision %d of %d", r.Snapshot().revision, revision)}
}

// fragments tells whether a watch should have large responses cut. A response holds one transaction,
// or, while a watch catches up, 1,000 of them: with large values that is more than the copy. But to
// cut a response costs the member n² of the events in a fragment of 2 MB (20,000 deletions of one
// request: 5.4 s instead of 0.1 s), so there must be few of them, also when every key is deleted.
// Whole responses have no limit in etcd but gRPC's 2 GiB.
func (r *replica) fragments() bool {
	const fewKeys, largeEntry = 1000, 8 << 10
	n := r.Snapshot().Len()
	return n <= fewKeys && r.bytes >= n*largeEntry && n > 0
}

// inTime records whether a small request had time enough, and returns its error.
func (r *replica) inTime(ctx context.Context, err error) error {
	switch {
	case err == nil:
		r.timeFactor = 1
	case timedOut(ctx, err):
		r.timeFactor = min(2*r.timeFactor, smallMost)
	}
	return err
}

func (r *replica) openWatch(life context.Context) (*stream, error) {
	ctx, cancel := context.WithTimeout(life, r.timeFactor*smallTimeout)
	defer cancel()
	create := &pb.WatchCreateRequest{
		Key: []byte(r.first), RangeEnd: []byte(r.end), StartRevision: r.Snapshot().revision + 1, Fragment: r.fragments(),
	}
	hedge := ask.Hedge[*stream]{
		Most:    mostTries,
		Silence: func(int) time.Duration { return r.timeFactor * smallStagger },
		Try: func(ctx context.Context, _ int) (*stream, error) {
			return openStream(ctx, life, r.cli, create)
		},
		Drop: (*stream).close,
	}
	watch, _, err := hedge.Run(ctx)
	if r.inTime(life, err) != nil {
		return nil, err
	}
	r.mu.Lock()
	r.record.Watches++
	r.record.MemberID = watch.header.MemberId
	r.mu.Unlock()
	return watch, nil
}

func (f *follower) run(life context.Context) error {
	// Nothing is taken from the watch before the history is known to be the one that the copy
	// is of: it may be served by a database that was wiped and has come as far.
	var responses chan *pb.WatchResponse
	for {
		confirmNow := f.confirmNow
		if f.asking || f.awaitingEvents {
			confirmNow = nil // later: one question at a time
		}
		select {
		case <-life.Done():
			return life.Err()
		case a := <-f.answers:
			f.asking = false
			if err := f.applyAnswer(a); err != nil {
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
			if f.awaitingEvents && len(r.Events) > 0 {
				f.extend() // it lags, but it moves
			}
			f.confirmIfCaughtUp()
		case <-f.next.C:
			f.ask(life)
		case <-confirmNow:
			f.ask(life)
		case <-f.again.C:
			f.watch.askProgress()
			f.again.Reset(progressAgain)
		case <-f.deadline.C:
			if err := f.checkDeadline(); err != nil {
				return err
			}
		}
	}
}

// ask sends a question.
func (f *follower) ask(life context.Context) {
	f.asking = true
	f.next.Stop()
	p, timeFactor := f.position(), f.timeFactor
	go func() { f.answers <- f.verify(life, p, timeFactor) }() // follow waits for it
}

// applyAnswer deals with the answer. Its error is a gapError.
func (f *follower) applyAnswer(a answer) error {
	var gap *gapError
	_ = f.inTime(context.Background(), a.err)
	switch {
	case errors.As(a.err, &gap):
		return a.err
	case denied(a.err):
		f.recordTrouble(refusal(a.err))
		f.next.Reset(f.opts.ConfirmEvery)
	case a.err != nil:
		f.recordTrouble(a.err)
		f.next.Reset(min(f.opts.ConfirmEvery, askAgain))
	default:
		f.asked, f.target, f.awaitingEvents, f.since = a.asked, a.revision, true, time.Now()
		f.extend()
		f.again.Reset(progressAgain)
		if f.Snapshot().revision < f.target {
			f.watch.askProgress()
		}
		f.confirmIfCaughtUp()
	}
	return nil
}

// confirmIfCaughtUp confirms the copy if it has come to where the last answer saw etcd. It may be there
// without a word of the watch; the member would not give it then, as a watch that begins after
// its newest revision gets no progress notice.
func (f *follower) confirmIfCaughtUp() {
	if !f.awaitingEvents || f.Snapshot().revision < f.target {
		return
	}
	f.awaitingEvents, f.silent, f.rereadsInRow = false, 0, 0
	f.deadline.Stop()
	f.again.Stop()
	f.next.Reset(f.opts.ConfirmEvery)
	f.confirm(f.asked, f.target)
}

// silenceAllowed is how long a watch may be silent while it owes. It doubles with each watch that falls
// silent, up to eight times its value; and where the prefix takes long to read, up to ten times
// that, because an event can be as large, and so that reading takes a tenth of the time at most.
func (r *replica) silenceAllowed() time.Duration {
	most := max(8*r.opts.WatchTimeout, 10*r.loadTime)
	return min(r.opts.WatchTimeout<<min(r.silent, 20), most)
}

// extend gives the watch its time once more.
func (f *follower) extend() {
	f.received = f.watch.received.Load()
	f.deadline.Reset(f.silenceAllowed())
}

// checkDeadline decides about a watch that has owed for longer than it may be silent. Events that
// arrived count as life, also a part of a large transaction. An answer to a progress request does
// not: a member that was cut off gives it too, with an old revision.
func (f *follower) checkDeadline() error {
	switch owed := time.Since(f.since); {
	case f.watch.received.Load() == f.received:
		return f.giveUp()
	case owed > max(lagMost, 10*f.opts.WatchTimeout) && f.behind(f.target):
		return f.lagging(f.target)
	}
	f.extend()
	return nil
}

// giveUp ends a watch that owes events. The next one goes to another member, and where that does
// not help the prefix is read again.
func (f *follower) giveUp() error {
	f.mu.Lock()
	f.record.Replaced++
	f.mu.Unlock()
	err := fmt.Errorf("%w: member %x is at revision %d and has not come to %d in %v", errSilentWatch, f.watch.header.MemberId, f.Snapshot().revision, f.target, f.silenceAllowed())
	f.log.Warn("mirror replaces its watch", "cause", err)
	if f.silent++; f.silent >= silentMost {
		return &gapError{Behind, err.Error()}
	}
	return err
}

package lease

import (
	"context"
	"errors"
	"iter"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/ask"
	"github.com/etcdkit/etcdkit/internal/errtext"
)

const (
	everyLook = time.Second            // while more than two seconds remain
	lastLooks = 200 * time.Millisecond // afterwards, so that the end of its time is seen
	lookTime  = 3 * time.Second        // for one answer
)

// Look is what Follow saw of a lease at one moment.
type Look struct {
	At        time.Time     // when the answer came
	Granted   time.Duration // its TTL
	Remaining time.Duration // in whole seconds, rounded down, as etcd says it; 0 once it has ended
	// Renewed tells that it was renewed since the look before. Restarted tells that a member became leader since, which gives
	// each lease its whole TTL again: a renewal cannot be told from that.
	Renewed, Restarted bool
	// Unanswered is why etcd does not say anything now. Remaining is then what remains at least, by the last answer.
	Unanswered error
	// Ended tells how it ended, and is empty before. Left is what remained at least when it was revoked.
	Ended End
	Left  time.Duration
}

// End is how a lease ended.
type End string

// Ends of a lease. etcd does not tell them apart: it forgets a lease. They follow from the times of the looks.
const (
	EndExpired End = "expired" // in the last second of its time, or after it
	EndRevoked End = "revoked" // while it had time left
	EndLost    End = "ended"   // while etcd did not answer for so long that it may be either
)

// Follow looks at a lease, also one of another process, once a second, and five times a second near its end, and yields
// what it sees until the lease has ended: the last Look says how. While etcd does not answer it yields that, and goes
// on. It ends by break, after the end of the lease, or with one final error: ErrNotFound if there is no such lease to
// begin with, that of a first look without an answer, ctx's, or that of a user that etcd refuses.
//
// It sends one request a second, and five a second while less than two seconds remain; each asks for the one lease
// without its keys. To a member that does not answer within a second it adds one to another member each second; after 3 s
// it gives them up and begins again.
func Follow(ctx context.Context, cli *clientv3.Client, id clientv3.LeaseID) iter.Seq2[Look, error] {
	return func(yield func(Look, error) bool) {
		ctx, end := ask.Of(cli).WhileOpen(ctx)
		defer end()
		f := follower{cli: cli, id: id}
		for {
			look, err := f.look(ctx)
			if err != nil {
				if !errors.Is(err, ErrNotFound) {
					err = errtext.Errorf("lease: follow lease %x: %w", int64(id), ask.Of(cli).Explain(err))
				}
				yield(Look{}, err)
				return
			}
			if !yield(look, nil) || look.Ended != "" {
				return
			}
			pause := everyLook
			if look.Remaining < 2*time.Second {
				pause = lastLooks
			}
			select {
			case <-time.After(pause):
			case <-ctx.Done(): // look returns its error
			}
		}
	}
}

// follower remembers what its looks say about the moment at which the lease expires if it is not renewed.
type follower struct {
	cli      *clientv3.Client
	id       clientv3.LeaseID
	seen     bool
	earliest time.Time // it does not expire before; renewals only make it later
	latest   time.Time // it does not expire after, without a renewal
	last     Look      // the last one with an answer
	term     uint64
}

func (f *follower) look(ctx context.Context) (Look, error) {
	sent := time.Now()
	once, cancel := context.WithTimeout(ctx, lookTime)
	resp, err := ask.Read(once, f.cli, func(ctx context.Context) (*clientv3.LeaseTimeToLiveResponse, error) {
		return f.cli.TimeToLive(clientv3.WithRequireLeader(ctx), f.id)
	})
	cancel()
	now := time.Now()
	switch {
	case ctx.Err() != nil:
		return Look{}, context.Cause(ctx)
	case ask.Unauthorised(err) || errors.Is(err, ask.ErrClosed):
		return Look{}, err
	case err != nil && !f.seen:
		return Look{}, err
	case err != nil:
		return Look{At: now, Granted: f.last.Granted, Remaining: max(0, f.earliest.Sub(now)).Truncate(time.Second), Unanswered: ask.Of(f.cli).Explain(err)}, nil
	case resp.TTL < 0 && !f.seen:
		return Look{}, notFound(f.id)
	case resp.TTL < 0:
		return f.ended(now), nil
	}
	l := Look{At: now, Granted: time.Duration(resp.GrantedTTL) * time.Second, Remaining: time.Duration(resp.TTL) * time.Second}
	f.saw(&l, sent, resp.RaftTerm)
	return l, nil
}

// saw compares an answer with those before it. etcd rounds towards 0: up to a second more remained; or, where it says 0, up to a
// second less, as etcd revokes a lease some time after it has expired.
func (f *follower) saw(l *Look, sent time.Time, term uint64) {
	latest := l.At.Add(l.Remaining + time.Second)
	if f.seen && l.Remaining > 0 && !sent.Add(l.Remaining).Before(f.latest) {
		l.Renewed, l.Restarted = term == f.term, term != f.term
	}
	if !f.seen || l.Renewed || l.Restarted || latest.Before(f.latest) {
		f.latest = latest
	}
	if earliest := sent.Add(l.Remaining); earliest.After(f.earliest) {
		f.earliest = earliest
	}
	f.seen, f.last, f.term = true, *l, term
}

// ended tells how.
func (f *follower) ended(now time.Time) Look {
	l := Look{At: now, Granted: f.last.Granted}
	switch left := f.earliest.Sub(now); {
	case left > 0:
		l.Ended, l.Left = EndRevoked, left
	case f.last.Remaining == 0:
		l.Ended = EndExpired
	default:
		l.Ended = EndLost
	}
	return l
}

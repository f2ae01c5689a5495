package election

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/errtext"
	"github.com/etcdkit/etcdkit/internal/queue"
	"github.com/etcdkit/etcdkit/lease"
)

// Sentinels for errors.Is.
var (
	// ErrLost: the term has ended, or cannot be relied on: its lease ended, or another client deleted
	// its key. A candidate that waits can lose its place in the same way.
	ErrLost = errors.New("election: term lost")
	// ErrResigned: the term was ended by Resign.
	ErrResigned = errors.New("election: resigned")
	// ErrVacant: there is no leader.
	ErrVacant = errors.New("election: no leader")
	// ErrInvalid: the caller's mistake: the name, or an option. Nothing was sent.
	ErrInvalid = errors.New("election: invalid argument")
	// ErrClosed: the Election was closed.
	ErrClosed = errors.New("election: closed")
)

// Options of New. nil and the zero value are the defaults.
type Options struct {
	// TTL is how long a term lasts after its process died or was paused. Default 10 s; etcd's minimum
	// is 2 s. A Keeper has its own TTL: with both the error is ErrInvalid.
	TTL time.Duration
	// Keeper is shared with other handles, and stays open. Default: one of the Election's own.
	Keeper *lease.Keeper
	// Logger gets one line when a candidate has waited for 1.5 s, with the leader, one when the leader
	// has changed, and one for each term that begins or is lost. nil is silent.
	Logger *slog.Logger
}

// Election is an election in etcd, as this process sees it. Its methods may be called from any
// goroutine, and each Campaign is a candidate of its own.
type Election struct{ handle *queue.Handle }

// electionType is what the queue's errors and log say for this package.
var electionType = &queue.HandleType{
	Name: "election", Origin: queue.Candidate, Handles: "elections", Entries: "candidates",
	Invalid: ErrInvalid, Closed: ErrClosed, Lost: ErrLost, Released: ErrResigned, Gone: ErrGone,
	Waiting: "waiting to lead", LostLog: "term lost", HeldKey: "lasted",
	HolderAttrs: leaderAttrs,
}

// New returns the election of a name. It sends nothing. With an invalid name or option each call
// returns ErrInvalid.
func New(cli *clientv3.Client, name string, opts *Options) *Election {
	var o Options
	if opts != nil {
		o = *opts
	}
	return &Election{electionType.NewHandle(cli, name, queue.Options{TTL: o.TTL, Keeper: o.Keeper, Logger: o.Logger})}
}

// Campaign waits until this candidate is elected. The value is what others see of the leader: an
// address, say.
//
// When ctx ends first, the candidate withdraws in the background, and the error wraps ctx's cause. If
// the lease is lost while the call waits, the error is ErrLost: campaign again, behind all others.
func (e *Election) Campaign(ctx context.Context, value string) (*Term, error) {
	ctx, done, err := e.handle.Begin(ctx, "campaign in")
	if err != nil {
		return nil, err
	}
	defer done()
	entry, err := e.handle.Wait("campaign in", func() (*queue.Entry, error) {
		return e.handle.Queue.Reach(ctx, nil, func(l *lease.Lease) *queue.Entry {
			return e.handle.Queue.Prepare(l, queue.Kind{Unique: true}, value, nil)
		})
	})
	if err != nil {
		return nil, err
	}
	t := &Term{e: e, held: e.handle.Hold(entry, nil)}
	if e.handle.Log != nil {
		e.handle.Log.Info("elected", "name", t.Name(), "key", t.Key(), "token", t.Token())
	}
	return t, nil
}

// Run campaigns and calls f for each term, until f returns while its term goes on: then Run resigns and
// returns f's error. When a term is lost, the ctx of f ends with cause ErrLost, and after f has returned
// Run campaigns again. So there are never two calls of f at once, and while f hangs this Run is no
// candidate. Run also ends with ctx's error, with ErrClosed, and with what etcd refuses for good, as a
// permission. While etcd's space is used up Run goes on trying.
//
// Run resigns as Resign does without a deadline. Once ctx has ended, that takes 2 s at most while etcd
// cannot be reached, together with the Close of all handles of the client.
func (e *Election) Run(ctx context.Context, value string, f func(context.Context, *Term) error) error {
	for {
		t, err := e.Campaign(ctx, value)
		lost := err
		if err == nil {
			lost, err = t.held.RunHeld(ctx, func(ctx context.Context) error { return f(ctx, t) }, t.Resign)
		}
		pause := runPause
		switch {
		case t == nil && errors.Is(err, rpctypes.ErrNoSpace):
			pause = fullPause
		case !errors.Is(lost, ErrLost):
			return err
		}
		select {
		case <-time.After(rand.N(pause)):
		case <-ctx.Done():
			if err == nil {
				return context.Cause(ctx)
			}
			return errtext.Errorf("%w, and then: %w", err, context.Cause(ctx))
		}
		if closed := e.handle.Closed("campaign in"); closed != nil {
			return closed
		}
	}
}

// runPause is the longest pause after a term that was lost: another client may delete each of them.
const runPause = 100 * time.Millisecond

// fullPause is the longest pause between tries while etcd's space is used up.
const fullPause = 2 * time.Second

// Close ends the election for this process. Calls of Campaign return ErrClosed, and withdraw. Resign
// terms before: a term that is not resigned is lost, and its key is removed. While etcd cannot be reached,
// Close takes 2 s at most, together with the Close of all other handles of the client, and what is left
// in etcd ends with its lease. Close is idempotent.
func (e *Election) Close() error { return e.handle.Queue.Close() }

// Shutdown is Close with the caller's bound: it returns when ctx ends at the latest, and as soon as
// etcd has answered. What it has no time for ends with its lease. Of Close and Shutdown only the first
// call counts.
func (e *Election) Shutdown(ctx context.Context) error { return e.handle.Queue.Shutdown(ctx) }

// prefix is what the keys of the election begin with.
func (e *Election) prefix() string { return e.handle.Name + "/" }

package election

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/internal/queue"
	"github.com/etcdkit/etcdkit/lease"
)

// Sentinels for errors.Is.
var (
	// ErrLost: the term is over, or must be taken for over: its lease ended, or another client deleted
	// its key. A candidate can lose its place in the same way.
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
	// TTL is how long a term outlives a process that died or stands still. Default 10 s; etcd's
	// minimum is 2 s. A Keeper has a TTL of its own: both are ErrInvalid.
	TTL time.Duration
	// Keeper is a shared one; it stays open. Default one of the Election's own.
	Keeper *lease.Keeper
	// Logger gets one line when a candidate has waited for 1.5 s, with the leader, and one when that has
	// changed; and one for each term that begins or is lost. nil is silent.
	Logger *slog.Logger
}

// Election is an election in etcd, as this process sees it. Its methods may be called from any
// goroutine, and each Campaign is a candidate of its own.
type Election struct {
	name  string
	cli   *clientv3.Client
	bad   error // the name
	queue *queue.Queue
	words *queue.Errors
	log   *slog.Logger // nil: silent

	figures *queue.Counters
	waits   *queue.WaitLog
}

// New returns the election of a name. It sends nothing. A name that is not one is ErrInvalid from the
// first call.
func New(cli *clientv3.Client, name string, opts *Options) *Election {
	var o Options
	if opts != nil {
		o = *opts
	}
	bad := validName(name)
	if bad == nil && o.Keeper != nil && o.TTL != 0 {
		bad = fmt.Errorf("%w: Options.TTL and Options.Keeper of %q are both set: the Keeper has a TTL of its own", ErrInvalid, name)
	}
	e := &Election{
		name: name, cli: cli, bad: bad, queue: queue.New(cli, name, o.Keeper, o.TTL), log: o.Logger,
		figures: new(queue.Counters), waits: queue.NewWaitLog(cli, name, o.Logger, "waiting to lead", "", leaderAttrs),
	}
	e.words = &queue.Errors{
		Lost: ErrLost, Unknown: ErrLost, Released: fmt.Errorf("%w: %q", ErrResigned, name), Name: strconv.Quote(name),
		Ended: e.over,
	}
	return e
}

func validName(name string) error {
	if err := queue.ValidName(name); err != nil {
		return fmt.Errorf("%w: the name: %w", ErrInvalid, err)
	}
	return nil
}

// Campaign waits until this candidate is elected. The value is what others see of the leader: an
// address, say.
//
// When ctx ends first, the candidacy is withdrawn in the background, and the error wraps its cause.
// A lease that is lost while waiting is ErrLost; campaign again, at the end of the line.
func (e *Election) Campaign(ctx context.Context, value string) (*Term, error) {
	if e.bad != nil {
		return nil, e.bad
	}
	ctx, done, err := e.queue.Begin(ctx)
	switch {
	case errors.Is(err, queue.ErrClient):
		return nil, fmt.Errorf("%w: %q: %w", ErrClosed, e.name, err)
	case err != nil:
		return nil, ErrClosed
	}
	defer done()
	began, waits := e.figures.StartWait(), e.waits.Start()
	entry, err := e.queue.Reach(ctx, nil, func(l *lease.Lease) *queue.Entry {
		return e.queue.Prepare(l, queue.Kind{Unique: true}, value, nil)
	})
	e.figures.EndWait(began, err)
	waits.End(err)
	if err != nil {
		return nil, e.explain("campaign in", err)
	}
	e.figures.StartHold()
	t := &Term{e: e, held: e.queue.Hold(entry, e.words, nil)}
	if e.log != nil {
		e.log.Info("elected", "name", e.name, "key", t.Key(), "token", t.Token())
	}
	return t, nil
}

// explain makes an error of the queue one of the election.
func (e *Election) explain(what string, err error) error {
	switch {
	case errors.Is(e.queue.Closed(), queue.ErrClient):
		return fmt.Errorf("%w: %s %q: %w", ErrClosed, what, e.name, queue.ErrClient)
	case errors.Is(err, queue.ErrLost):
		return fmt.Errorf("%w: %s %q: %w", ErrLost, what, e.name, err)
	case e.queue.Closed() != nil && !errors.Is(err, ErrClosed):
		err = fmt.Errorf("%w: %w", ErrClosed, err)
	}
	return fmt.Errorf("election: %s %q: %w", what, e.name, queue.Where(e.cli, err))
}

// ended makes an error of the end of a term one of the election. It knows its name if the term was lost.
func (e *Election) ended(what string, err error) error {
	if err == nil || errors.Is(err, ErrLost) {
		return err
	}
	return e.explain(what, err)
}

// Run campaigns and calls f for each term, until f returns while its term goes on: then it resigns
// and returns f's error. When a term is lost, f's ctx ends with cause ErrLost, and when f has
// returned Run campaigns again: there are never two calls at once, and while one hangs nobody is
// elected through this Run. It also ends with ctx's error, ErrClosed, and what etcd refuses for
// good, as a permission; that its space is used up is waited out.
//
// Run resigns as Resign does without a deadline; once ctx has ended that shares the 2 s which Close takes
// at most while etcd cannot be reached.
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
			return errors.Join(err, context.Cause(ctx))
		}
		switch closed := e.queue.Closed(); {
		case errors.Is(closed, queue.ErrClient):
			return fmt.Errorf("%w: %q: %w", ErrClosed, e.name, closed)
		case closed != nil:
			return ErrClosed
		}
	}
}

// runPause is the longest one after a term that was lost: another client may be taking them all.
const runPause = 100 * time.Millisecond

// fullPause is the longest one between tries while etcd's space is used up.
const fullPause = 2 * time.Second

// Close ends the election for this process: calls of Campaign are ErrClosed, and withdraw. Resign terms
// before: one that is not resigned is lost, and its key is removed. While etcd cannot be reached Close
// takes 2 s at most, together with the Close of all other handles of the client, and what is left in
// etcd ends with its lease. It is idempotent.
func (e *Election) Close() error { return e.queue.Close() }

// Shutdown is Close with a bound of the caller's: until ctx ends, and no longer than etcd's answers
// take. What it does not leave time for ends with its lease. Of Close and Shutdown the first one counts.
func (e *Election) Shutdown(ctx context.Context) error { return e.queue.Shutdown(ctx) }

// keys is what the election's begin with.
func (e *Election) keys() string { return e.name + "/" }

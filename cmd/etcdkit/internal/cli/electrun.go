package cli

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/child"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/out"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/place"
	"github.com/etcdkit/etcdkit/election"
	"github.com/etcdkit/etcdkit/internal/errtext"
)

// electRun is a command that runs in each term of this process.
type electRun struct {
	a           *app
	flags       *lockFlags
	name, value string
	argv        []string
}

// electPause is the longest pause before the next candidacy: another process may end each term at once.
const electPause = time.Second

func (r *electRun) run(ctx context.Context, cluster *place.Flags) error {
	if _, err := child.Command(r.argv); err != nil {
		return r.a.cannotRun(err)
	}
	all, stopSignals := child.Forwarded() // from now on none is missed
	defer stopSignals()
	until, signals, stopPassing := commandSignals(ctx, all)
	defer stopPassing()
	finding, stop := child.UntilSignal(ctx, signals)
	p, err := r.a.reach(finding, cluster, func(err error) {
		r.a.out.Talkf("etcdkit: %s; a candidate as soon as etcd is there", r.a.describe(err))
	})
	if p != nil {
		defer p.Close()
	}
	if ended := stop(); ended != nil || err != nil {
		return endedBefore(ended, unreachable(err))
	}
	e := election.New(p.Client, r.name, &election.Options{TTL: r.flags.ttl, Logger: r.a.logger()})
	defer e.Close()
	for {
		again, err := r.term(ctx, until, e, signals)
		if !again {
			return err
		}
		r.a.out.Talkf("etcdkit: %s; a candidate again", errtext.Text(err))
	}
}

// term is one candidacy and the term after it. again says that it was lost, and that the next one follows. until ends
// with a signal that asks for an end.
func (r *electRun) term(ctx, until context.Context, e *election.Election, signals <-chan os.Signal) (again bool, err error) {
	cmd, err := child.Command(r.argv)
	if err != nil {
		return false, r.a.cannotRun(err)
	}
	what := fmt.Sprintf("elect %q", r.name)
	supervisor, err := r.a.supervise(what, r.flags.grace)
	if err != nil {
		return false, err
	}
	defer supervisor.Close()
	elect := func(ctx context.Context) (*election.Term, error) { return e.Campaign(ctx, r.value) }
	t, again, err := r.campaign(ctx, elect, signals)
	if err != nil {
		return again, err
	}
	code, ran := r.a.runHeld(what, supervisor, cmd, t, signals, termEnviron(t))
	resigned := released(ctx, t.Resign)
	switch {
	case errors.Is(ran, child.ErrEnded):
		return r.lost(until, code, ran, t)
	case ran != nil:
		return false, ran
	case errors.Is(resigned, election.ErrLost):
		return false, coded(ExitLost, fmt.Errorf("%w (the command had ended by then, with exit code %d)", resigned, code))
	case resigned != nil:
		r.sayNotResigned(resigned)
	}
	if code != 0 {
		return false, exitError(code)
	}
	return false, nil
}

func (r *electRun) sayNotResigned(err error) {
	r.a.out.Talkf("etcdkit: %s; the term ends when its lease expires, within %v", errtext.Text(err), r.flags.ttl)
}

// campaign waits until elect returns a term. again says that this process lost its place before, and may try again.
func (r *electRun) campaign(ctx context.Context, elect func(context.Context) (*election.Term, error), signals <-chan os.Signal) (t *election.Term, again bool, err error) {
	waiting, stop := child.UntilSignal(ctx, signals)
	defer func() { _ = stop() }() // what it returns has been looked at
	t, err = elect(waiting)
	if err != nil && waiting.Err() == nil && (errors.Is(err, election.ErrLost) || errors.Is(err, rpctypes.ErrNoSpace)) {
		select {
		case <-time.After(rand.N(electPause)):
			again = true
		case <-waiting.Done():
		}
	}
	ended := stop() // signals are for the command from now on
	switch {
	case ended == nil && err == nil:
		return t, false, nil
	case ended == nil && again:
		return nil, true, err
	case t != nil: // a signal came in the moment of the election
		if err := released(ctx, t.Resign); err != nil {
			r.sayNotResigned(err)
		}
	}
	return nil, false, endedBefore(ended, electionError(err))
}

// lost is the result of a term that was lost: the next candidacy, unless a signal has asked for an end. ended is
// Supervisor.Run's error.
func (r *electRun) lost(until context.Context, code int, ended error, t *election.Term) (again bool, err error) {
	err = endedByLoss(fmt.Sprintf("the term in %q", r.name), t.Err(), election.ErrLost, code, ended)
	if until.Err() != nil {
		return false, coded(ExitLost, err)
	}
	return true, err
}

// termEnviron are the variables that a command of elect has besides.
func termEnviron(t *election.Term) []string {
	return []string{
		"ETCDKIT_ELECT_KEY=" + t.Key(), "ETCDKIT_TOKEN=" + strconv.FormatInt(t.Token(), 10), "ETCDKIT_LEASE=" + out.Hex(int64(t.Lease())),
	}
}

package safety_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/etcdkit/etcdkit/election"
)

// electionTurn is one term, or several of one Run.
func (h *hand) electionTurn(e *election.Election) {
	h.interfere()
	if h.rand.IntN(2) == 0 {
		h.ask(e)
	}
	if h.rand.IntN(2) == 0 {
		h.run(e)
	} else if term := h.campaign(e); term != nil {
		h.lead(term)
		h.release(term, term.Resign)
	}
}

// candidacy is a campaign that has not begun, and the value to campaign with.
func (h *hand) candidacy() (op, string) {
	o := h.begin(acquire, h.on.queue(), 0)
	return o, mark{0, o.Worker, o.N, 0}.String()
}

func (h *hand) campaign(e *election.Election) (term *election.Term) {
	o, value := h.candidacy()
	_ = h.do(o, wait, func(ctx context.Context, o *op) (err error) {
		if term, err = e.Campaign(ctx, value); err == nil {
			o.Key, o.Token = term.Key(), term.Token()
		}
		return err
	})
	return term
}

var errEnough = errors.New("enough")

// run campaigns with Run, until a term was led to its end. Run resigns when the function returns,
// and campaigns again when the term is lost.
func (h *hand) run(e *election.Election) {
	o, value := h.candidacy()
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	o.Call, o.Outcome = now(), info
	h.say(o)
	var ending op
	err := e.Run(ctx, value, func(ctx context.Context, term *election.Term) error {
		if o.Outcome == ok { // the term before was lost
			h.end(ending, election.ErrLost)
			o = h.begin(acquire, h.on.queue(), 0)
			o.Call = ending.Call
		}
		o.Key, o.Token = term.Key(), term.Token()
		o = h.end(o, nil)
		h.lead(term)
		ending = h.begin(release, term.Key(), term.Token())
		ending.Call, ending.Outcome = now(), info
		h.say(ending)
		return errEnough
	})
	if err == errEnough {
		err = nil
	}
	if o.Outcome == ok {
		o = ending
	}
	h.end(o, err)
	h.keep(err)
}

// lead reads, writes and proclaims.
func (h *hand) lead(term *election.Term) {
	h.watch(term)
	key := h.register()
	_ = h.read(term, key)
	if h.rand.IntN(2) == 0 {
		h.proclaim(term)
	}
	h.visit(term, key, true)
	if h.rand.IntN(2) == 0 {
		h.proclaim(term)
	}
}

func (h *hand) proclaim(term *election.Term) {
	o := h.begin(proclaim, term.Key(), term.Token())
	o.Value = mark{0, o.Worker, o.N, o.Token}.String()
	_ = h.do(o, patience, func(ctx context.Context, o *op) error { return term.Proclaim(ctx, o.Value) })
}

// ask is Leader.
func (h *hand) ask(e *election.Election) {
	_ = h.do(h.begin(current, h.on.queue(), 0), patience, func(ctx context.Context, o *op) error {
		l, err := e.Leader(ctx)
		if errors.Is(err, election.ErrVacant) {
			return nil
		}
		o.show(l)
		return err
	})
}

// show records a leader that was reported.
func (o *op) show(l election.Leader) {
	o.Token, o.Revision, o.Value = l.Token, l.Revision, l.Value
	if !l.Vacant() {
		o.Key = l.Key
	}
}

// observe tells of each leader, until ctx ends.
func (w *worker) observe(ctx context.Context, e *election.Election) {
	for ctx.Err() == nil {
		for l, err := range e.Observe(ctx) {
			if err != nil {
				if ctx.Err() == nil { // etcd could not be read to begin with
					fmt.Fprintln(os.Stderr, err)
					<-time.After(100 * time.Millisecond)
				}
				break
			}
			o := w.begin(observe, leadership.queue(), 0)
			o.show(l)
			w.tell(o)
		}
	}
}

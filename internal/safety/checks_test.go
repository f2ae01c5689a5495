package safety_test

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// evidence is what a run left.
type evidence struct {
	ops    []op
	events []event
	faults []fault
}

// check is one property of the evidence.
type check struct {
	name string
	run  func(*evidence) error
}

// Names of the checks.
const (
	byTokens   = "tokens increase"
	byTurn     = "hand-over follows create revision"
	byOrder    = "no entry overtakes"
	byAccepted = "what etcd accepted lies in its token's turn"
	byHolder   = "a token is one holder's"
	byAnswers  = "acknowledged writes happened, refused ones did not"
	byCount    = "the counter counts"
	byReads    = "what is read under a shared token does not change"
	bySize     = "no more than the size is taken"
	byLeader   = "a leader that was reported led"
	byObserver = "no observer goes back"
	byCurrent  = "the current leader is not an old one"
	byRegister = "the register is linearizable"
)

// checks are the properties, the cheapest first.
func checks() []check {
	return []check{
		{byTokens, each(tokensIncrease, subjects...)},
		{byTurn, each(handOver, subjects...)},
		{byOrder, each(inOrder, subjects...)},
		{byAccepted, each(acceptedInTurn, subjects...)},
		{byHolder, each(acceptedOfHolder, subjects...)},
		{byAnswers, each(writesAsSaid, subjects...)},
		{byCount, each(counterCounts, mutex, rwmutex)},
		{byReads, each(readsAgree, rwmutex)},
		{bySize, each(notOverfull, semaphore)},
		{byLeader, leadersAreReal},
		{byObserver, leadersNeverGoBack},
		{byCurrent, currentIsNew},
		{byRegister, func(e *evidence) error { return linearizable(e, thinking, "") }},
	}
}

// controls are those that must find something in the unfenced arm.
func controls() []check {
	return []check{
		{byAccepted, eachFinds(acceptedInTurn, subjects...)},
		{byCount, eachFinds(counterCounts, exclusive...)},
		{byReads, eachFinds(readsAgree, rwmutex)},
		{bySize, eachFinds(notOverfull, semaphore)},
	}
}

// each makes a check of one for each subject.
func each(f func(*evidence, subject) error, all ...subject) func(*evidence) error {
	return func(e *evidence) error {
		var errs []error
		for _, s := range all {
			if err := f(e, s); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", s, err))
			}
		}
		return errors.Join(errs...)
	}
}

// eachFinds makes one that wants each open subject to be found wrong.
func eachFinds(f func(*evidence, subject) error, all ...subject) func(*evidence) error {
	return func(e *evidence) error {
		var errs []error
		for _, s := range all {
			if f(e, s.open()) == nil {
				errs = append(errs, fmt.Errorf("%s: without the guard nothing is wrong", s))
			}
		}
		return errors.Join(errs...)
	}
}

// findings are what a check found; a broken run has thousands.
type findings []error

const shown = 5

func (f *findings) addf(format string, args ...any) { *f = append(*f, fmt.Errorf(format, args...)) }

func (f findings) err() error {
	if len(f) > shown {
		return fmt.Errorf("%w\nand %d more", errors.Join(f[:shown]...), len(f)-shown)
	}
	return errors.Join(f...)
}

// holds are the acquisitions of a subject, in the order in which they were called.
func holds(ops []op, s subject) []op {
	var all []op
	for _, o := range ops {
		if o.Op == acquire && o.Outcome == ok && o.of() == s {
			all = append(all, o)
		}
	}
	slices.SortFunc(all, func(a, b op) int { return cmp.Compare(a.Call, b.Call) })
	return all
}

// tokensIncrease: a token is the create revision of the hold's entry and of no other hold, and larger
// than every one that was returned before it was asked for.
func tokensIncrease(e *evidence, s subject) error {
	var found findings
	all := holds(e.ops, s)
	queue := turns(e.events, s)
	seen := make(map[int64]op)
	for _, o := range all {
		if q := queue[o.Token]; q == nil || q.key != o.Key {
			found.addf("%v: no entry has this key and create revision", o)
		}
		if other, twice := seen[o.Token]; twice {
			found.addf("%v: it is the token of %v, too", o, other)
		}
		seen[o.Token] = o
	}
	returned := slices.Clone(all)
	slices.SortFunc(returned, func(a, b op) int { return cmp.Compare(a.Return, b.Return) })
	var largest op
	next := 0
	for _, o := range all {
		for ; next < len(returned) && returned[next].Return < o.Call; next++ {
			if returned[next].Token > largest.Token {
				largest = returned[next]
			}
		}
		if o.Token <= largest.Token {
			found.addf("%v: called after the return of %v", o, largest)
		}
	}
	return found.err()
}

// handOver: at the revision at which a hold was told that it is one, its entry was there, and no
// older one that it had to wait for.
func handOver(e *evidence, s subject) error {
	var found findings
	queue := turns(e.events, s)
	for _, o := range holds(e.ops, s) {
		q := queue[o.Token]
		if q == nil || o.Revision == 0 {
			continue // tokensIncrease says so; a Campaign does not tell when
		}
		if o.Revision < q.since || o.Revision >= q.deleted {
			found.addf("%v: its entry's turn was from %d to %d", o, q.since, q.deleted)
		}
	}
	return found.err()
}

// acceptance is something that etcd did under a token.
type acceptance struct {
	what   string
	token  int64
	by     string // worker
	at     int64  // revision
	leaves bool   // it ends the turn in the same transaction
}

// accepted is everything that etcd did under the tokens of a subject: writes as the truth has them,
// and reads, which it has not.
func accepted(e *evidence, s subject) (all []acceptance) {
	for _, ev := range protectedWrites(e.events, s) {
		m, _ := parseMark(ev.Value) // token 0 is no holder's
		what := fmt.Sprintf("%s = %q", ev.Key, ev.Value)
		all = append(all, acceptance{what, m.token, m.worker, ev.Revision, ev.Key == s.counter() && !s.isOpen()})
	}
	for _, o := range e.ops {
		if o.Op == read && o.Outcome == ok && o.Token != 0 && o.of() == s {
			all = append(all, acceptance{o.String(), o.Token, o.Worker, o.Revision, false})
		}
	}
	return all
}

// acceptedInTurn: etcd accepted something under a token only while its entry was there, and none
// that it had to wait for. A Commit is a write and the deletion of its entry at the same revision.
func acceptedInTurn(e *evidence, s subject) error {
	var found findings
	queue := turns(e.events, s)
	for _, a := range accepted(e, s) {
		q := queue[a.token]
		if q == nil {
			found.addf("%s at revision %d: the token is not one", a.what, a.at)
			continue
		}
		inTurn := q.since <= a.at && a.at < q.deleted
		if a.leaves {
			inTurn = q.since < a.at && a.at == q.deleted
		}
		if !inTurn {
			found.addf("%s at revision %d: the token's turn was from %d to %d", a.what, a.at, q.since, q.deleted)
		}
	}
	return found.err()
}

// acceptedOfHolder: what etcd accepted under a token is of the worker that was given it.
func acceptedOfHolder(e *evidence, s subject) error {
	var found findings
	holder := make(map[int64]string)
	for _, o := range holds(e.ops, s) {
		holder[o.Token] = o.Worker
	}
	for _, a := range accepted(e, s) {
		if holder[a.token] != a.by {
			found.addf("%s at revision %d: it is %s's, and the token %q's", a.what, a.at, a.by, holder[a.token])
		}
	}
	return found.err()
}

// protectedWrites are the changes of what a subject protects. What a leader proclaims is in its
// entry.
func protectedWrites(events []event, s subject) []event {
	return slices.DeleteFunc(slices.Clone(events), func(ev event) bool {
		proclaimed := s == leadership && strings.HasPrefix(ev.Key, s.queue()) && ev.Created != 0 && ev.Created < ev.Revision
		return !s.protects(ev.Key) && !proclaimed
	})
}

// writesAsSaid: an acknowledged write is in the data's history once, at its revision if that is
// told; a refused one is not; and there is none that no worker asked for.
func writesAsSaid(e *evidence, s subject) error {
	var found findings
	happened := make(map[string][]event)
	for _, ev := range protectedWrites(e.events, s) {
		happened[ev.Key+" "+ev.Value] = append(happened[ev.Key+" "+ev.Value], ev)
	}
	for _, o := range e.ops {
		if !o.writes() || o.of() != s {
			continue
		}
		is := happened[o.Key+" "+o.Value]
		delete(happened, o.Key+" "+o.Value)
		switch {
		case o.Outcome == ok && (len(is) != 1 || o.Revision != 0 && is[0].Revision != o.Revision):
			found.addf("%v: it happened %d times: %v", o, len(is), is)
		case o.Outcome == fail && len(is) > 0:
			found.addf("%v: it happened all the same: %v; the error was: %s", o, is, o.Error)
		case len(is) > 1:
			found.addf("%v: it happened %d times: %v", o, len(is), is)
		}
	}
	for _, is := range happened {
		found.addf("no worker asked for %v", is[0])
	}
	return found.err()
}

// counterCounts: each write adds one, and the last one is the number of the acknowledged ones and
// of those without an answer that happened.
func counterCounts(e *evidence, s subject) error {
	var found findings
	applied := make(map[string]bool)
	final := 0
	for _, ev := range e.events {
		if ev.Key != s.counter() {
			continue
		}
		m, err := parseMark(ev.Value)
		if err != nil || m.count != final+1 {
			found.addf("%q at revision %d comes after %d (%v)", ev.Value, ev.Revision, final, err)
		}
		final = m.count
		applied[ev.Value] = true
	}
	acknowledged, unanswered := 0, 0
	for _, o := range e.ops {
		switch {
		case o.Key != s.counter() || o.Op != increment:
		case o.Outcome == ok:
			acknowledged++
		case o.Outcome == info && applied[o.Value]:
			unanswered++
		}
	}
	if final != acknowledged+unanswered {
		found.addf("the counter is %d, want %d: %d increments were acknowledged, and %d happened without an answer", final, acknowledged+unanswered, acknowledged, unanswered)
	}
	return found.err()
}

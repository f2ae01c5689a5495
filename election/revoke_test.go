package election_test

import (
	"errors"
	"testing"

	"github.com/etcdkit/etcdkit/election"
	"github.com/etcdkit/etcdkit/etcdtest"
)

func TestRevokeEndsTheTermThatWasListedAndNoOther(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	name := prefix + "jobs"
	term := campaign(t, newElection(t, cli, name), "a")
	next := campaigning(bounded(t), newElection(t, cli, name), "b")
	candidates(t, cli, name, 2)
	q, err := election.Candidates(bounded(t), cli, name, nil)
	if err != nil {
		t.Fatal(err)
	}
	older := q.Candidates[0]
	older.Token--
	if err := election.Revoke(bounded(t), cli, older); !errors.Is(err, election.ErrGone) {
		t.Errorf("an older one: %v, want ErrGone", err)
	}
	if err := election.Revoke(bounded(t), cli, election.Candidate{Key: term.Key()}); !errors.Is(err, election.ErrInvalid) {
		t.Errorf("without a token: %v, want ErrInvalid", err)
	}
	if err := election.Revoke(bounded(t), cli, q.Candidates[0]); err != nil {
		t.Fatal(err)
	}
	r := <-next
	if r.err != nil {
		t.Fatal(r.err)
	}
	<-term.Done()
	if err := term.Err(); !errors.Is(err, election.ErrLost) {
		t.Errorf("the term: %v, want ErrLost", err)
	}
	resign(t, r.term)
	if err := election.Revoke(bounded(t), cli, q.Candidates[0]); !errors.Is(err, election.ErrGone) {
		t.Errorf("a second time: %v, want ErrGone", err)
	}
}

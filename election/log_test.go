package election_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/etcdkit/etcdkit/election"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/internal/queuetest"
)

func TestACandidateLogsTheLeaderAndItsOwnTerm(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	name := prefix + "jobs"
	var l queuetest.Log
	e := election.New(cli, name, &election.Options{TTL: 5 * time.Second, Logger: l.Logger()})
	defer e.Close()
	leader := campaign(t, newElection(t, cli, name), "\x1b[2J")
	next := campaigning(bounded(t), e, "next")
	l.Has(t, 1, "INFO", `msg="waiting to lead"`, "name="+name, `\\x1b[2J`, "key="+leader.Key(), fmt.Sprint("token=", leader.Token()))
	resign(t, leader)
	r := <-next
	if r.err != nil {
		t.Fatal(r.err)
	}
	l.Has(t, 2, "INFO", "msg=elected", "key="+r.term.Key(), fmt.Sprint("token=", r.term.Token()))
	if stats := e.Stats(); stats.Leading != 1 || stats.Waiting != 0 || stats.WaitTime.Count != 1 || stats.WaitTime.Sum < time.Second {
		t.Errorf("it counts %+v", stats)
	}
	if _, err := cli.Delete(bounded(t), r.term.Key()); err != nil {
		t.Fatal(err)
	}
	if err := r.term.Resign(bounded(t)); !errors.Is(err, election.ErrLost) {
		t.Errorf("got %v, want ErrLost", err)
	}
	l.Has(t, 3, "ERROR", `msg="term lost"`, "name="+name, "key="+r.term.Key(), "cause=")
	if stats := e.Stats(); stats.Leading != 0 || stats.Lost[election.LossDeleted] != 1 || stats.TermTime.Count != 1 {
		t.Errorf("it counts %+v", stats)
	}
}

package election_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"

	"github.com/etcdkit/etcdkit/election"
	"github.com/etcdkit/etcdkit/etcdtest"
)

func TestCandidatesShowTheLeaderAndTheWaiters(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	name := prefix + "jobs"
	e := newElection(t, cli, name)
	term := campaign(t, e, "10.0.0.1:80")
	if err := term.Proclaim(bounded(t), "10.0.0.1:81"); err != nil {
		t.Fatal(err)
	}
	next := campaigning(bounded(t), newElection(t, cli, name), strings.Repeat("\x1b[2J", 10_000))
	candidates(t, cli, name, 2)
	s, err := concurrency.NewSession(cli, concurrency.WithTTL(60))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	theirs := make(chan error, 1)
	go func() { theirs <- concurrency.NewElection(s, name).Campaign(bounded(t), "theirs") }() // waited for below
	candidates(t, cli, name, 3)

	q, err := election.Candidates(bounded(t), cli, name, nil)
	if err != nil || q.Name != name || q.Count != 3 || len(q.Candidates) != 3 {
		t.Fatalf("got %+v, %v", q, err)
	}
	if c := q.Candidates[0]; c.Status != election.Leads || c.Key != term.Key() || c.Token != term.Token() || c.Value != "10.0.0.1:81" || c.Foreign || c.Lease == 0 || c.Position != 0 {
		t.Errorf("the leader is %+v", c)
	}
	if c := q.Candidates[1]; c.Status != election.Waits || c.ValueSize != 40_000 || len(c.Value) != 8192 || c.Foreign || c.Position != 1 {
		t.Errorf("the candidate that waits is %.300v", c)
	}
	if c := q.Candidates[2]; c.Status != election.Waits || c.Lease != s.Lease() || c.Value != "theirs" || !c.Foreign {
		t.Errorf("clientv3's is %+v", c)
	}
	for _, c := range q.Candidates {
		if text := c.String(); len(text) > 1000 || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%q is not for people", text)
		}
		text, err := json.Marshal(c)
		if want := fmt.Sprintf(`"lease":"%x"`, int64(c.Lease)); err != nil || !strings.Contains(string(text), want) {
			t.Errorf("as JSON it is %.300s, %v, want %s in it", text, err, want)
		}
	}
	if q, err := election.Candidates(bounded(t), cli, name, &election.ListOptions{Limit: 1}); err != nil || len(q.Candidates) != 1 || q.Count != 3 || q.Candidates[0].Key != term.Key() {
		t.Errorf("the first one: %+v, %v", q, err)
	}
	resign(t, term)
	r := <-next
	if r.err != nil {
		t.Fatal(r.err)
	}
	resign(t, r.term)
	if err := <-theirs; err != nil {
		t.Error(err)
	}
	if _, err := cli.Revoke(bounded(t), s.Lease()); err != nil {
		t.Fatal(err)
	}
	if q, err := election.Candidates(bounded(t), cli, name, nil); err != nil || len(q.Candidates) != 0 {
		t.Errorf("with no candidate: %+v, %v", q, err)
	}
	if _, err := election.Candidates(bounded(t), cli, "bad/", nil); !errors.Is(err, election.ErrInvalid) {
		t.Errorf("of a bad name: %v, want ErrInvalid", err)
	}
	for range election.List(bounded(t), cli, prefix, nil) {
		t.Error("an election without a candidate is listed")
	}
	if _, err := cli.Put(bounded(t), name+"/by-hand", ""); err != nil {
		t.Fatal(err)
	}
	if q, err := election.Candidates(bounded(t), cli, name, nil); err != nil || len(q.Candidates) != 1 || !q.Candidates[0].Foreign || q.Candidates[0].Lease != clientv3.NoLease {
		t.Errorf("with a key without an owner: %+v, %v", q, err)
	}
}

func TestAListIsOneRequest(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	for i := range 10 {
		campaign(t, newElection(t, cli, fmt.Sprint(prefix, "jobs", i)), "x")
	}
	asks, sent := counting(t, cli.Endpoints())
	q, err := election.Candidates(bounded(t), asks, prefix+"jobs0", nil)
	if err != nil || len(q.Candidates) != 1 || sent.requests.Load() != 1 {
		t.Errorf("got %+v, %v with %d requests, want the leader with one", q, err, sent.requests.Load())
	}
	sent.reset()
	n := 0
	for _, err := range election.List(bounded(t), asks, prefix, nil) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 10 || sent.requests.Load() != 1 {
		t.Errorf("%d elections with %d requests, want 10 with one", n, sent.requests.Load())
	}
}

package election_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	"go.uber.org/goleak"

	"github.com/etcdkit/etcdkit/election"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/internal/means"
	"github.com/etcdkit/etcdkit/lease"
)

func TestMain(m *testing.M) {
	if endpoints := os.Getenv(leaderEnv); endpoints != "" {
		os.Exit(lead(strings.Split(endpoints, ",")))
	}
	means.TestsAtATime(8)
	goleak.VerifyTestMain(etcdtest.Main(m))
}

// within bounds what a test waits for, on a machine that does much else.
const within = 60 * time.Second

func bounded(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	t.Cleanup(cancel)
	return ctx
}

func newElection(t testing.TB, cli *clientv3.Client, name string) *election.Election {
	t.Helper()
	e := election.New(cli, name, &election.Options{TTL: 5 * time.Second})
	t.Cleanup(func() { e.Close() })
	return e
}

func campaign(t testing.TB, e *election.Election, value string) *election.Term {
	t.Helper()
	term, err := e.Campaign(bounded(t), value)
	if err != nil {
		t.Fatal(err)
	}
	return term
}

func resign(t testing.TB, term *election.Term) {
	t.Helper()
	if err := term.Resign(bounded(t)); err != nil {
		t.Fatal(err)
	}
}

// candidates waits until there are so many, and returns the newest.
func candidates(t testing.TB, cli *clientv3.Client, name string, n int64) string {
	t.Helper()
	for ctx := bounded(t); ; {
		resp, err := cli.Get(ctx, name+"/", clientv3.WithPrefix(), clientv3.WithSort(clientv3.SortByCreateRevision, clientv3.SortDescend))
		if err != nil {
			t.Fatal(err)
		}
		if resp.Count == n && n == 0 {
			return ""
		}
		if resp.Count == n {
			return string(resp.Kvs[0].Key)
		}
	}
}

// result is what a Campaign in the background comes to.
type result struct {
	term *election.Term
	err  error
}

func campaigning(ctx context.Context, e *election.Election, value string) <-chan result {
	c := make(chan result, 1)
	go func() { // ends with ctx
		term, err := e.Campaign(ctx, value)
		c <- result{term, err}
	}()
	return c
}

func TestOneLeadsAndThenTheNext(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	name := prefix + "jobs"
	a, b := newElection(t, cli, name), newElection(t, cli, name)
	if l, err := a.Leader(bounded(t)); !errors.Is(err, election.ErrVacant) || !l.Vacant() {
		t.Errorf("no candidate: %+v, %v, want ErrVacant", l, err)
	}
	first := campaign(t, a, "a")
	next := campaigning(bounded(t), b, "b")
	candidates(t, cli, name, 2)
	if l, err := b.Leader(bounded(t)); err != nil || l.Value != "a" || l.Token != first.Token() || l.Key != first.Key() {
		t.Errorf("%+v, %v, want a and its token", l, err)
	}
	if err := first.Proclaim(bounded(t), "a, at work"); err != nil {
		t.Error(err)
	}
	if l, err := b.Leader(bounded(t)); err != nil || l.Value != "a, at work" || l.Token != first.Token() {
		t.Errorf("%+v, %v, want what a proclaimed", l, err)
	}
	resign(t, first)
	resign(t, first) // again
	if err := first.Err(); !errors.Is(err, election.ErrResigned) {
		t.Errorf("after Resign: %v, want ErrResigned", err)
	}
	got := <-next
	if got.err != nil {
		t.Fatal(got.err)
	}
	if got.term.Token() <= first.Token() {
		t.Errorf("token %d, then %d, want them to increase", first.Token(), got.term.Token())
	}
	if err := first.Proclaim(bounded(t), "late"); !errors.Is(err, election.ErrResigned) {
		t.Errorf("Proclaim after Resign: %v, want ErrResigned", err)
	}
	if resp, err := first.Txn(bounded(t)).Then(clientv3.OpPut(prefix+"late", "")).Commit(); err != nil || resp.Succeeded {
		t.Errorf("a write of the term before: %v, %v, want it refused", resp, err)
	}
	resign(t, got.term)
	candidates(t, cli, name, 0)
}

func TestClientv3AndEtcdkitElectOneLeaderTogether(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	name := prefix + "jobs"
	e := newElection(t, cli, name)
	s, err := concurrency.NewSession(cli)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	theirs := concurrency.NewElection(s, name)
	if err := theirs.Campaign(bounded(t), "theirs"); err != nil {
		t.Fatal(err)
	}
	ours := campaigning(bounded(t), e, "ours")
	candidates(t, cli, name, 2)
	if l, err := e.Leader(bounded(t)); err != nil || l.Value != "theirs" || l.Key != theirs.Key() {
		t.Errorf("%+v, %v, want theirs", l, err)
	}
	select {
	case r := <-ours:
		t.Fatalf("%+v while theirs leads", r)
	case <-time.After(50 * time.Millisecond):
	}
	if err := theirs.Resign(bounded(t)); err != nil {
		t.Fatal(err)
	}
	r := <-ours
	if r.err != nil {
		t.Fatal(r.err)
	}
	if resp, err := theirs.Leader(bounded(t)); err != nil || string(resp.Kvs[0].Value) != "ours" {
		t.Errorf("their Leader: %v, %v, want ours", resp, err)
	}
	again := make(chan error, 1)
	go func() { again <- theirs.Campaign(bounded(t), "theirs") }()
	candidates(t, cli, name, 2)
	resign(t, r.term)
	if err := <-again; err != nil {
		t.Fatal(err)
	}
	if err := theirs.Resign(bounded(t)); err != nil {
		t.Fatal(err)
	}
}

func TestObserveYieldsEachLeaderAndVacancies(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	name := prefix + "jobs"
	e := newElection(t, cli, name)
	ctx, cancel := context.WithCancel(bounded(t))
	next, stop := iter.Pull2(e.Observe(ctx))
	defer stop()
	expect := func(want string) {
		t.Helper()
		l, err, _ := next()
		if err != nil {
			t.Fatal(err)
		}
		if l.Value != want || l.Vacant() != (want == "") {
			t.Fatalf("got %+v, want %q", l, want)
		}
	}
	expect("")
	a := campaign(t, e, "a")
	expect("a")
	b := campaigning(bounded(t), e, "b") // changes nothing
	candidates(t, cli, name, 2)
	if err := a.Proclaim(bounded(t), "A"); err != nil {
		t.Fatal(err)
	}
	expect("A")
	resign(t, a)
	expect("b")
	resign(t, (<-b).term)
	expect("")
	cancel()
	if _, err, _ := next(); !errors.Is(err, context.Canceled) {
		t.Errorf("at the end: %v, want the cancellation", err)
	}
	if _, _, more := next(); more {
		t.Error("it goes on after its error")
	}
}

// The lease of a waiting candidate is revoked, and then the leader resigns.
func TestACandidateWhoseLeaseEndedIsNeverElected(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	name := prefix + "jobs"
	leader, other := newElection(t, cli, name), newElection(t, cli, name)
	first := campaign(t, leader, "a")
	waiting := campaigning(bounded(t), other, "b")
	key := candidates(t, cli, name, 2)
	resp, err := cli.Get(bounded(t), key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cli.Revoke(bounded(t), clientv3.LeaseID(resp.Kvs[0].Lease)); err != nil {
		t.Fatal(err)
	}
	resign(t, first)
	if r := <-waiting; r.term != nil || !errors.Is(r.err, election.ErrLost) {
		t.Errorf("got %+v, want ErrLost", r)
	}
	candidates(t, cli, name, 0)
}

func TestALeaderWhoseLeaseIsRevokedHasLostItsTerm(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	e := newElection(t, cli, prefix+"jobs")
	term := campaign(t, e, "a")
	resp, err := cli.Get(bounded(t), term.Key())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cli.Revoke(bounded(t), clientv3.LeaseID(resp.Kvs[0].Lease)); err != nil {
		t.Fatal(err)
	}
	select {
	case <-term.Done():
	case <-bounded(t).Done():
		t.Fatal("it is not told")
	}
	if err := term.Err(); !errors.Is(err, election.ErrLost) {
		t.Errorf("%v, want ErrLost", err)
	}
	if err := term.Resign(bounded(t)); !errors.Is(err, election.ErrLost) {
		t.Errorf("Resign: %v, want ErrLost", err)
	}
}

func TestALeaderWhoseKeyIsDeletedLearnsOfItWhenItWrites(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	e := newElection(t, cli, prefix+"jobs")
	term := campaign(t, e, "a")
	if _, err := cli.Delete(bounded(t), term.Key()); err != nil {
		t.Fatal(err)
	}
	if err := term.Proclaim(bounded(t), "still a"); !errors.Is(err, election.ErrLost) {
		t.Fatalf("Proclaim: %v, want ErrLost", err)
	}
	<-term.Done()
	candidates(t, cli, prefix+"jobs", 0)
}

func TestACandidateThatGivesUpIsRemoved(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	name := prefix + "jobs"
	e := newElection(t, cli, name)
	term := campaign(t, e, "a")
	ctx, cancel := context.WithCancel(bounded(t))
	waiting := campaigning(ctx, e, "b")
	candidates(t, cli, name, 2)
	cancel()
	if r := <-waiting; !errors.Is(r.err, context.Canceled) {
		t.Errorf("got %+v, want the cancellation", r)
	}
	candidates(t, cli, name, 1)
	waiting = campaigning(bounded(t), e, "c")
	candidates(t, cli, name, 2)
	resign(t, term)
	term = (<-waiting).term
	waiting = campaigning(bounded(t), e, "d")
	candidates(t, cli, name, 2)
	resign(t, term)
	resign(t, (<-waiting).term)
	waiting = campaigning(bounded(t), newElection(t, cli, name), "f")
	resign(t, (<-waiting).term)
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	if _, err := e.Campaign(bounded(t), "g"); !errors.Is(err, election.ErrClosed) {
		t.Errorf("after Close: %v, want ErrClosed", err)
	}
}

// full is a KV whose first transaction is refused: etcd's space is used up.
type full struct {
	clientv3.KV
	over atomic.Bool
}

func (f *full) Txn(ctx context.Context) clientv3.Txn {
	if f.over.Swap(true) {
		return f.KV.Txn(ctx)
	}
	return refused{f.KV.Txn(ctx)}
}

type refused struct{ clientv3.Txn }

func (r refused) If(...clientv3.Cmp) clientv3.Txn        { return r }
func (r refused) Then(...clientv3.Op) clientv3.Txn       { return r }
func (r refused) Else(...clientv3.Op) clientv3.Txn       { return r }
func (r refused) Commit() (*clientv3.TxnResponse, error) { return nil, rpctypes.ErrNoSpace }

func TestRunOutlivesThatEtcdIsFull(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	kv := &full{KV: cli.KV}
	cli.KV = kv
	ran := false
	err := newElection(t, cli, prefix+"jobs").Run(bounded(t), "a", func(context.Context, *election.Term) error {
		ran = true
		return nil
	})
	if err != nil || !ran || !kv.over.Load() {
		t.Errorf("got %v, want a term once there is space", err)
	}
}

func TestBadNamesAreRefusedBeforeAnythingIsSent(t *testing.T) {
	cli, _ := etcdtest.New(t)
	for _, name := range []string{"", "a/", "a\x00", strings.Repeat("n", 1001)} {
		e := newElection(t, cli, name)
		if _, err := e.Campaign(bounded(t), "a"); !errors.Is(err, election.ErrInvalid) {
			t.Errorf("campaign in %.10q: %v, want ErrInvalid", name, err)
		}
		if _, err := e.Leader(bounded(t)); !errors.Is(err, election.ErrInvalid) {
			t.Errorf("leader of %.10q: %v, want ErrInvalid", name, err)
		}
		for _, err := range e.Observe(bounded(t)) {
			if !errors.Is(err, election.ErrInvalid) {
				t.Errorf("observe %.10q: %v, want ErrInvalid", name, err)
			}
		}
	}
}

func TestAThousandRoundsLeaveNothingBehind(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	before, err := cli.Leases(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	for n := range 1000 {
		e := election.New(cli, fmt.Sprint(prefix, n%7), nil)
		term := campaign(t, e, "a")
		if n%2 == 0 {
			resign(t, term)
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
	resp, err := cli.Get(bounded(t), prefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil || resp.Count != 0 {
		t.Errorf("%v, %v: want no key", resp, err)
	}
	after, err := cli.Leases(bounded(t))
	if err != nil || len(after.Leases) > len(before.Leases) {
		t.Errorf("%d leases, before %d, %v", len(after.Leases), len(before.Leases), err)
	}
}

// A value that is written without the lease would make a leader for ever of one that died.
func TestWhatIsProclaimedEndsWithTheLease(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	e := newElection(t, cli, prefix+"jobs")
	term := campaign(t, e, "before")
	lease := func() clientv3.LeaseID {
		resp, err := cli.Get(bounded(t), term.Key())
		if err != nil || len(resp.Kvs) != 1 {
			t.Fatalf("%v, %v, want the leader's key", resp, err)
		}
		return clientv3.LeaseID(resp.Kvs[0].Lease)
	}
	before := lease()
	if err := term.Proclaim(bounded(t), "after"); err != nil {
		t.Fatal(err)
	}
	if after := lease(); before == clientv3.NoLease || after != before {
		t.Fatalf("its key is on lease %x, and was on %x", after, before)
	}
	if _, err := cli.Revoke(bounded(t), before); err != nil {
		t.Fatal(err)
	}
	if l, err := e.Leader(bounded(t)); !errors.Is(err, election.ErrVacant) {
		t.Errorf("got %v, %v, want no leader", l, err)
	}
}

func TestAKeeperAndATTLAreInvalidTogether(t *testing.T) {
	cli, name := etcdtest.New(t)
	k := lease.NewKeeper(cli, nil)
	t.Cleanup(func() { k.Close() })
	e := election.New(cli, name, &election.Options{Keeper: k, TTL: 5 * time.Second})
	if term, err := e.Campaign(bounded(t), "a"); term != nil || !errors.Is(err, election.ErrInvalid) {
		t.Errorf("got %v, %v, want ErrInvalid", term, err)
	}
}

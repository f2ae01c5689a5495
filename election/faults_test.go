package election_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/etcdkit/etcdkit/election"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/internal/means"
)

// leaderEnv makes this test binary a process that leads until it is killed, at these endpoints.
const leaderEnv = "ETCDKIT_TEST_LEADER"

// processTTL is short: another one must lead within that and 1.5 s.
const processTTL = 2 * time.Second

func lead(endpoints []string) int {
	cli, err := clientv3.New(clientv3.Config{Endpoints: endpoints, Logger: zap.NewNop()})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	_, err = election.New(cli, "jobs", &election.Options{TTL: processTTL}).Campaign(context.Background(), "the process")
	fmt.Println("elected", err)
	select {}
}

// process starts one that leads.
func process(t *testing.T, endpoints []string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), leaderEnv+"="+strings.Join(endpoints, ","))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // or it is killed already
		_ = cmd.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "elected <nil>\n" {
		t.Fatalf("it said %q, %v", line, err)
	}
	return cmd
}

func TestAnotherOneIsElectedWhenTheLeadersProcessIsKilled(t *testing.T) {
	t.Parallel()
	c := etcdtest.NewCluster(t, nil)
	cli := etcdtest.Client(t, c)
	leader := process(t, c.Endpoints())
	next := campaigning(bounded(t), newElection(t, cli, "jobs"), "next")
	candidates(t, cli, "jobs", 2)
	if err := leader.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	killed := time.Now()
	r := <-next
	if r.err != nil {
		t.Fatal(r.err)
	}
	took := time.Since(killed)
	t.Logf("elected %v after the leader was killed, with TTL %v", took.Round(time.Millisecond), processTTL)
	if took > processTTL+1500*time.Millisecond && !means.Race {
		t.Errorf("it took %v, want TTL + 1.5 s", took)
	}
	resign(t, r.term)
}

// etcd's leader is killed again and again. Tokens increase with each term, and of two processes that
// both believe that they lead, etcd accepts the writes of only one.
func TestTermsIncreaseWhileEtcdsLeadersAreKilled(t *testing.T) {
	t.Parallel()
	c := etcdtest.NewCluster(t, nil)
	cli := etcdtest.Client(t, c)
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	var written atomic.Int64
	for n := range 3 {
		// With a TTL that is shorter than an outage, and a new leader of etcd every two seconds, which
		// starts every lease's time again, those whose leases were lost would be in the way all the time.
		e := election.New(etcdtest.Client(t, c), "jobs", &election.Options{TTL: 5 * time.Second})
		t.Cleanup(func() { e.Close() })
		running.Go(func() {
			for ctx.Err() == nil {
				_ = e.Run(ctx, fmt.Sprint("candidate ", n), func(ctx context.Context, term *election.Term) error {
					end := time.After(300 * time.Millisecond)
					for {
						select {
						case <-end:
							return nil
						case <-ctx.Done():
							return ctx.Err()
						case <-time.After(5 * time.Millisecond):
						}
						try, cancel := context.WithTimeout(ctx, time.Second)
						if resp, err := term.Txn(try).Then(clientv3.OpPut("token", fmt.Sprint(term.Token()))).Commit(); err == nil && resp.Succeeded {
							written.Add(1)
						}
						cancel()
					}
				})
			}
		})
	}
	kills := 0
	for began := time.Now(); time.Since(began) < killFor || kills < 2; kills++ {
		leader := c.Leader()
		if _, err := c.Kill(t.Context(), leader); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Start(t.Context(), leader); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Second)
		for least, before := bounded(t), written.Load(); written.Load() < before+10; { // it is led, and written to
			select {
			case <-time.After(10 * time.Millisecond):
			case <-least.Done():
				t.Fatal("no process leads and writes")
			}
		}
	}
	stop()
	running.Wait()

	history, cancel := context.WithCancel(bounded(t))
	defer cancel()
	put := func() int64 {
		for {
			if resp, err := cli.Put(history, "end", ""); err == nil {
				return resp.Header.Revision
			} else if history.Err() != nil {
				t.Fatal(err)
			}
		}
	}
	end := put()
	last, terms, writes := "", 0, 0
	for resp := range cli.Watch(history, "token", clientv3.WithRev(1), clientv3.WithProgressNotify()) {
		if err := resp.Err(); err != nil {
			t.Fatal(err)
		}
		for _, ev := range resp.Events {
			now := string(ev.Kv.Value)
			if len(now) < len(last) || len(now) == len(last) && now < last {
				t.Errorf("at revision %d etcd took a write with token %s after one with %s", ev.Kv.ModRevision, now, last)
			}
			if now != last {
				terms++
			}
			last = now
			writes++
		}
		current, err := cli.Get(history, "token")
		if err != nil {
			t.Fatal(err)
		}
		if n := len(resp.Events); n > 0 && resp.Events[n-1].Kv.ModRevision == current.Kvs[0].ModRevision || resp.Header.Revision > end {
			break
		}
	}
	t.Logf("%d writes in %d terms, while %d leaders of etcd were killed", writes, terms, kills)
	if kills < 2 || 2*terms < kills || writes < 10*kills {
		t.Errorf("void: %d writes in %d terms, %d kills", writes, terms, kills)
	}
}

// The observer is cut off, the leader changes twice, and history is compacted away.
func TestAnObserverThatMissedEverythingShowsTheNewLeaderOnly(t *testing.T) {
	t.Parallel()
	c := etcdtest.NewCluster(t, nil)
	gate := etcdtest.NewGate(t, c.Endpoints()[0])
	seen, err := clientv3.New(clientv3.Config{Endpoints: []string{gate.Addr()}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { seen.Close() })
	cli := etcdtest.Client(t, c)
	e := newElection(t, cli, "jobs")
	next, stop := iter.Pull2(newElection(t, seen, "jobs").Observe(bounded(t)))
	defer stop()
	a := campaign(t, e, "a")
	var tokens []int64
	see := func(want string) {
		t.Helper()
		for {
			l, err, _ := next()
			if err != nil {
				t.Fatal(err)
			}
			if !l.Vacant() {
				tokens = append(tokens, l.Token)
			}
			if l.Value == want {
				return
			}
		}
	}
	see("a")
	gate.SetTarget("")
	resign(t, a)
	resign(t, campaign(t, e, "b"))
	last := campaign(t, e, "c")
	resp, err := cli.Get(bounded(t), "none")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cli.Compact(bounded(t), resp.Header.Revision); err != nil {
		t.Fatal(err)
	}
	gate.SetTarget(c.Endpoints()[0])
	see("c")
	for n := 1; n < len(tokens); n++ {
		if tokens[n] < tokens[n-1] {
			t.Errorf("leaders with the tokens %v were shown, want no older one after a newer one", tokens)
		}
	}
	if tokens[len(tokens)-1] != last.Token() {
		t.Errorf("the last token is %d, want %d", tokens[len(tokens)-1], last.Token())
	}
	resign(t, last)
	if !errors.Is(last.Err(), election.ErrResigned) {
		t.Error(last.Err())
	}
}

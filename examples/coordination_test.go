package examples_test

import (
	"strings"
	"syscall"
	"testing"

	"github.com/etcdkit/etcdkit/etcdtest"
	clientv3 "go.etcd.io/etcd/client/v3"
)

func TestAnElectionHasOneLeaderAndTheNextOneTakesOver(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	candidate := func(id string) *process {
		return start(t, "election", "-endpoints", endpoints(cli), "-name", prefix+"scheduler", "-id", id)
	}
	one := candidate("one")
	one.await(t, &one.stdout, `^elected, token \d+$`)
	two := candidate("two")
	two.prints(t, "the leader is one")
	one.await(t, &one.stdout, `^working, token \d+$`)
	one.signal(t, syscall.SIGINT)
	one.exits(t, 0)
	if out := one.stdout.all(); !strings.Contains(out, "no longer the leader\n") {
		t.Errorf("the first one printed %q, want that its work has ended", out)
	}
	first := two.await(t, &two.stdout, `^elected, token (\d+)$`)[1]
	three := candidate("three")
	three.prints(t, "the leader is two")
	two.signal(t, syscall.SIGKILL) // its lease has to end
	second := three.await(t, &three.stdout, `^elected, token (\d+)$`)[1]
	if len(second) < len(first) || len(second) == len(first) && second <= first {
		t.Errorf("tokens %s and then %s, want them to increase", first, second)
	}
	three.signal(t, syscall.SIGTERM)
	three.exits(t, 0)
	nothingIsLeftOf(t, cli, prefix)
}

func TestConfigFollowsItsKeysAndKeepsTheLastGoodOnes(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	put(t, cli, prefix+"timeout", "2s")
	p := start(t, "config", "-endpoints", endpoints(cli), "-prefix", prefix)
	settings := func(want string) { p.await(t, &p.stdout, `^\{`+want+`\} \(revision \d+\)$`) }
	settings("Timeout:2s Retries:3")
	put(t, cli, prefix+"retries", "many")
	p.says(t, `refused, keeping {Timeout:2s Retries:3}: `+prefix+`retries: strconv.Atoi: parsing "many": invalid syntax`)
	put(t, cli, prefix+"retries", "5")
	settings("Timeout:2s Retries:5")
	put(t, cli, prefix+"colour", "green")
	p.says(t, prefix+"colour: there is no such setting")
	if _, err := cli.Txn(limit(t)).Then(
		clientv3.OpDelete(prefix+"colour"), clientv3.OpPut(prefix+"timeout", "0s"),
	).Commit(); err != nil {
		t.Fatal(err)
	}
	p.says(t, "0s is not more than 0s")
	remove(t, cli, prefix+"timeout")
	settings("Timeout:1s Retries:5")
	p.signal(t, syscall.SIGINT)
	p.exits(t, 0)
	if got := strings.Count(p.stdout.all(), "\n"); got != 3 {
		t.Errorf("%d lines, want 3: each good change once\n%s", got, p.stdout.all())
	}
}

func TestConfigSaysWhenItIsStaleAndMissesNothingThatACompactionTook(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	gate := etcdtest.NewGate(t, cli.Endpoints()[0])
	p := start(t, "config", "-endpoints", gate.Addr(), "-prefix", prefix)
	p.await(t, &p.stdout, `^\{Timeout:1s Retries:3\}`)
	gate.Freeze()
	p.says(t, "stale, complete as of ")
	put(t, cli, prefix+"timeout", "2s")
	last := put(t, cli, prefix+"timeout", "3s")
	if _, err := cli.Compact(limit(t), last); err != nil {
		t.Fatal(err)
	}
	gate.Unfreeze()
	p.await(t, &p.stdout, `^\{Timeout:3s Retries:3\}`)
	p.signal(t, syscall.SIGINT)
	p.exits(t, 0)
}

func TestConfigDoesNotStartWithSettingsThatItDoesNotUnderstand(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	put(t, cli, prefix+"timeout", "soon")
	p := start(t, "config", "-endpoints", endpoints(cli), "-prefix", prefix)
	p.exits(t, 1)
	p.says(t, "config: "+prefix+"timeout: ")
}

func TestAFenceRefusesTheLateWriteOfAHolderThatWasPaused(t *testing.T) {
	cli, _ := etcdtest.New(t)
	p := start(t, "fence", "-endpoints", endpoints(cli))
	p.exits(t, 0)
	checkOutput(t, "fence", p.stdout.all())
	nothingIsLeftOf(t, cli, "jobs/report")
}

func TestNoCallFailsWhileGRPCServersLeaveAndDie(t *testing.T) {
	t.Parallel()
	cli := etcdtest.Client(t, etcdtest.NewCluster(t, nil)) // the service has a fixed name
	serve := func() *process {
		p := start(t, "grpc", "-endpoints", endpoints(cli), "serve")
		p.await(t, &p.stdout, "^serving at ")
		return p
	}
	call := func(p *process, n int) { // n lines more, a second each
		for range n {
			p.await(t, &p.stdout, `^\d+ calls, \d+ failed, the last 20 by`)
		}
	}
	one, two := serve(), serve()
	calls := start(t, "grpc", "-endpoints", endpoints(cli), "call")
	call(calls, 2)
	one.signal(t, syscall.SIGTERM)
	one.exits(t, 0)
	call(calls, 1)
	three := serve()
	call(calls, 1)
	two.signal(t, syscall.SIGKILL)
	<-two.done
	call(calls, 2)
	calls.signal(t, syscall.SIGINT)
	calls.exits(t, 0)
	if out := calls.stdout.all(); !strings.HasSuffix(out, " calls, 0 failed\n") {
		t.Errorf("%s\nwant none failed", out)
	}
	three.signal(t, syscall.SIGINT)
	three.exits(t, 0)
}

func TestGRPCWithoutAWordPrintsItsUsage(t *testing.T) {
	for _, args := range [][]string{nil, {"server"}, {"serve", "call"}} {
		p := start(t, "grpc", args...)
		p.exits(t, 2)
		p.says(t, "want serve or call")
	}
}

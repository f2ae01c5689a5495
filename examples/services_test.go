package examples_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/registry"
	clientv3 "go.etcd.io/etcd/client/v3"
)

func TestAnInterruptWithdrawsTheServiceAtOnce(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	events := cli.Watch(limit(t), prefix, clientv3.WithPrefix())
	p := start(t, "sr", "-endpoints", endpoints(cli), "-key", prefix+"web/node1", "-val", "localhost:2379")
	id := leaseOf(t, p)
	if got := value(t, cli, prefix+"web/node1"); !strings.Contains(got, `"Addr":"localhost:2379"`) || !strings.Contains(got, `"pid":`) {
		t.Errorf("registered as %q, want the address and its owner", got)
	}
	p.signal(t, syscall.SIGINT)
	p.exits(t, 0)
	leaseIsGone(t, cli, id)
	awaitDelete(t, events, prefix+"web/node1")
	checkOutput(t, "sr", strings.ReplaceAll(p.stdout.all(), prefix, "PREFIX/"))
}

func TestACrashedServiceStaysUntilItsLeaseEnds(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	events := cli.Watch(limit(t), prefix, clientv3.WithPrefix())
	p := start(t, "sr", "-endpoints", endpoints(cli), "-key", prefix+"web/node1", "-val", "localhost:2379")
	id := leaseOf(t, p)
	p.signal(t, syscall.SIGKILL)
	<-p.done
	if got := value(t, cli, prefix+"web/node1"); !strings.Contains(got, `"pid":`) {
		t.Errorf("right after the crash the entry is %q, want it with its owner", got)
	}
	awaitDelete(t, events, prefix+"web/node1")
	leaseIsGone(t, cli, id)
}

func TestAServiceStaysRegisteredLongerThanItsTTL(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	p := start(t, "sr", "-endpoints", endpoints(cli), "-key", prefix+"web/node1", "-val", "localhost:2379")
	p.await(t, &p.stdout, "success!$")
	clock, err := cli.Grant(limit(t), 7) // a lease that is not renewed shows that more than 5 s have passed
	if err != nil {
		t.Fatal(err)
	}
	events := cli.Watch(limit(t), prefix+"clock")
	if _, err := cli.Put(limit(t), prefix+"clock", "", clientv3.WithLease(clock.ID)); err != nil {
		t.Fatal(err)
	}
	awaitDelete(t, events, prefix+"clock")
	if got := value(t, cli, prefix+"web/node1"); !strings.Contains(got, `"pid":`) {
		t.Errorf("after 7 s the entry is %q, want it with its owner", got)
	}
	p.signal(t, syscall.SIGTERM)
	p.exits(t, 0)
}

func TestALostLeaseIsToldAndTheServiceComesBack(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	p := start(t, "sr", "-endpoints", endpoints(cli), "-key", prefix+"web/node1", "-val", "localhost:2379")
	id := leaseOf(t, p)
	if _, err := cli.Revoke(limit(t), id); err != nil {
		t.Fatal(err)
	}
	p.says(t, "registration lost key="+prefix+"web/node1")
	p.says(t, "registered again key="+prefix+"web/node1")
	now, err := cli.Get(limit(t), prefix+"web/node1")
	if err != nil || len(now.Kvs) != 1 || now.Kvs[0].Lease == int64(id) {
		t.Errorf("got %v, %v, want the service on another lease", now, err)
	}
	p.signal(t, syscall.SIGINT)
	p.exits(t, 0)
}

func TestTheSameServiceTwiceIsToldWhoHasIt(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	first := start(t, "sr", "-endpoints", endpoints(cli), "-key", prefix+"web/node1", "-val", "localhost:2379")
	leaseOf(t, first)
	second := start(t, "sr", "-endpoints", endpoints(cli), "-key", prefix+"web/node1", "-val", "localhost:2379")
	second.exits(t, 1)
	second.says(t, fmt.Sprintf("register %sweb/node1: registered by another process: pid %d on host", prefix, first.cmd.Process.Pid))
	if out := second.stdout.all(); out != "" {
		t.Errorf("the second one printed %q, want nothing", out)
	}
	first.signal(t, syscall.SIGINT)
	first.exits(t, 0)
}

func TestAKeyThatNamesNoServiceIsRefused(t *testing.T) {
	for _, key := range []string{"node1", "web/node1", "/web/", "/web//node1"} {
		p := start(t, "sr", "-endpoints", "127.0.0.1:1", "-key", key) // nothing listens there
		p.exits(t, 1)
		p.says(t, "sr: ")
		if got := p.stderr.all(); strings.Contains(got, "127.0.0.1:1") {
			t.Errorf("key %q: %s, want it refused before anything is sent", key, got)
		}
	}
}

func TestDiscoveryFollowsServicesThatComeAndGo(t *testing.T) {
	t.Parallel()
	cli, _ := etcdtest.New(t)
	sd := start(t, "sd", "-endpoints", endpoints(cli), "-every", "1h")
	sd.prints(t, "services: []")
	node1 := start(t, "sr", "-endpoints", endpoints(cli)) // as in the text: /web/node1 is value-2379
	sd.prints(t, "services: [/web/node1=value-2379]")
	node2 := start(t, "sr", "-endpoints", endpoints(cli), "-key", "/web/node2", "-val", "localhost:22379")
	sd.prints(t, "services: [/web/node1=value-2379 /web/node2=localhost:22379]")
	node1.signal(t, syscall.SIGINT)
	sd.prints(t, "services: [/web/node2=localhost:22379]")
	node2.signal(t, syscall.SIGKILL)
	sd.prints(t, "services: []")
	sd.signal(t, syscall.SIGINT)
	sd.exits(t, 0)
	checkOutput(t, "sd", sd.stdout.all())
}

func TestDiscoveryPrintsTheListEverySoOften(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	put(t, cli, prefix+"web/b", "2")
	put(t, cli, prefix+"web/a", "1")
	p := start(t, "sd", "-endpoints", endpoints(cli), "-prefix", prefix+"web/", "-every", "1s")
	for range 3 {
		p.prints(t, fmt.Sprintf("services: [%[1]sweb/a=1 %[1]sweb/b=2]", prefix))
	}
	p.signal(t, syscall.SIGINT)
	p.exits(t, 0)
}

// Services come and go while a discovery starts, and until it has told of the first change. Each key is
// touched at most twice, so what falls between its first reading and its watch would stay wrong for good.
func TestDiscoveryMissesNothingBetweenItsFirstReadingAndItsWatch(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	for round := range 10 {
		at := fmt.Sprintf("%s%d/", prefix, round)
		p := start(t, "sd", "-endpoints", endpoints(cli), "-prefix", at, "-every", "1h")
		for i := 0; strings.Count(p.stdout.all(), "\n") < 2; i++ {
			put(t, cli, fmt.Sprint(at, i), "came")
			if i%2 == 0 {
				remove(t, cli, fmt.Sprint(at, i-4))
			}
		}
		put(t, cli, at+"last", "came")
		now, err := cli.Get(limit(t), at, clientv3.WithPrefix())
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		for _, kv := range now.Kvs {
			want = append(want, string(kv.Key)+"=came")
		}
		p.await(t, &p.stdout, "^services: .*/last=came")
		p.signal(t, syscall.SIGINT)
		p.exits(t, 0)
		if lines := strings.Split(p.stdout.all(), "\n"); lines[len(lines)-2] != fmt.Sprint("services: ", want) {
			t.Errorf("the last list is\n%s, want\n%v", lines[len(lines)-2], want)
		}
	}
}

// The session of docs/services.md: the members fail one after the other, and each list that is printed was
// true in etcd, in the order in which they were true.
func TestNoListIsWrongWhileMembersFail(t *testing.T) {
	t.Parallel()
	c := etcdtest.NewCluster(t, nil)
	at := strings.Join(c.Endpoints(), ",")
	sd := start(t, "sd", "-endpoints", at, "-every", "1s")
	sd.prints(t, "services: []")
	sr := start(t, "sr", "-endpoints", at, "-val", "localhost:2379")
	const there = "services: [/web/node1=localhost:2379]"
	sd.prints(t, there)
	for _, fault := range []struct {
		inject, mend func(context.Context, string) (*cluster.Change, error)
	}{{c.Kill, c.Start}, {c.Pause, c.Resume}} {
		leader := c.Leader()
		change, err := fault.inject(t.Context(), leader)
		if err != nil {
			t.Fatal(err)
		}
		t.Log(change)
		<-time.After(7 * time.Second) // the fault's length: longer than the TTL
		if _, err := fault.mend(t.Context(), leader); err != nil {
			t.Fatal(err)
		}
		sd.prints(t, there)
	}
	sr.signal(t, syscall.SIGINT)
	sr.exits(t, 0)
	sd.prints(t, "services: []")
	sd.signal(t, syscall.SIGINT)
	sd.exits(t, 0)

	lists := strings.Split(strings.TrimSuffix(sd.stdout.all(), "\n"), "\n")
	if len(lists) < 14 {
		t.Errorf("%d lists while members failed for 14 s, want one a second", len(lists))
	}
	truth := history(t, etcdtest.Client(t, c))
	for i, list := range lists {
		for len(truth) > 0 && truth[0] != list {
			truth = truth[1:]
		}
		if len(truth) == 0 {
			t.Fatalf("list %d was not true then: %s", i, list)
		}
	}
}

// history is what the list of /web/ has been, from the beginning on.
func history(t *testing.T, cli *clientv3.Client) []string {
	t.Helper()
	end, err := cli.Put(limit(t), "/web/end", "localhost:1")
	if err != nil {
		t.Fatal(err)
	}
	last := end.Header.Revision
	all, there := []string{"services: []"}, map[string]string{}
	ctx, cancel := context.WithCancel(limit(t))
	defer cancel()
	for resp := range cli.Watch(ctx, "/web/", clientv3.WithPrefix(), clientv3.WithRev(1)) {
		for _, ev := range resp.Events {
			key := string(ev.Kv.Key)
			if delete(there, key); ev.Type == clientv3.EventTypePut {
				i, err := registry.Decode("/", key, string(ev.Kv.Value))
				if err != nil {
					t.Fatal(err)
				}
				there[key] = key + "=" + i.Addr
			}
			all = append(all, fmt.Sprint("services: ", slices.Sorted(maps.Values(there))))
			if ev.Kv.ModRevision == last {
				return all
			}
		}
	}
	t.Fatal("the watch has ended before the last change")
	return nil
}

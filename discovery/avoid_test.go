package discovery_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/discovery"
	"github.com/etcdkit/etcdkit/etcdtest"
)

// logged is what a view has logged.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// lines is how often the log has a text.
func (l *logged) lines(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), text)
}

// named is an instance of the list.
func named(t testing.TB, v *discovery.View, id string) *discovery.Instance {
	t.Helper()
	for _, i := range v.Instances() {
		if i.ID == id {
			return i
		}
	}
	t.Fatalf("no instance %q in %v", id, v.Instances())
	return nil
}

// pickedFor counts the picks of an instance, as fast as they come, for so long.
func pickedFor(t testing.TB, v *discovery.View, id string, d time.Duration) (n int) {
	t.Helper()
	for began := time.Now(); time.Since(began) < d; {
		i, err := v.Pick()
		if err != nil {
			t.Fatal(err)
		}
		if i.ID == id {
			n++
		} else {
			v.Report(i, nil)
		}
	}
	return n
}

func TestAfterItsPauseAnInstanceIsTriedByOnePickAtATime(t *testing.T) {
	t.Parallel()
	for _, policy := range []discovery.Policy{discovery.Weighted, discovery.RoundRobin, discovery.LeastPending} {
		t.Run(fmt.Sprint(policy), func(t *testing.T) {
			t.Parallel()
			v, _, _ := view(t, discovery.Options{Policy: policy}, map[string]string{"hung": "h:1", "well": "h:2"})
			hung, began := named(t, v, "hung"), time.Now()
			v.Report(hung, errDown)
			tries := pickedFor(t, v, "hung", 2500*time.Millisecond) // their ends are not reported
			if most := int(time.Since(began) / time.Second); tries < 1 || tries > most {
				t.Errorf("an instance that failed was picked %d times in %v, want 1 to %d", tries, time.Since(began), most)
			}
			v.Report(hung, nil)
			if n := count(t, 100, v.Pick, id)["hung"]; n < 20 {
				t.Errorf("after a success it has %d of 100 picks, want its share", n)
			}
		})
	}
}

// An instance that is kept although its registration has ended is most likely dead if it fails.
func TestAnExpiredInstanceThatFailsOnceIsNotTriedAgain(t *testing.T) {
	t.Parallel()
	v, cli, prefix, lease := mortal(t, discovery.Options{}, "a", "b", "c")
	put(t, cli, prefix+"web/fresh", "h:9")
	untilListed(t, v, 4)
	if _, err := cli.Revoke(bounded(t), lease); err != nil {
		t.Fatal(err)
	}
	untilExpired(t, v, 3)
	for _, id := range []string{"a", "b"} {
		v.Report(named(t, v, id), errDown)
	}
	got := make(map[string]int)
	for began := time.Now(); time.Since(began) < 2500*time.Millisecond; {
		i, err := v.Pick()
		if err != nil {
			t.Fatal(err)
		}
		got[i.ID]++
		v.Report(i, nil)
	}
	if got["a"]+got["b"] > 0 || got["c"] == 0 || got["fresh"] == 0 {
		t.Errorf("a and b have expired and failed; picks: %v, want none of them", got)
	}
	v.Report(named(t, v, "c"), errDown)
	v.Report(named(t, v, "fresh"), errDown)
	if got := count(t, 100, v.Pick, id); got["fresh"] != 100 {
		t.Errorf("all have failed; picks: %v, want the one that is registered", got)
	}
	put(t, cli, prefix+"web/a", record1("a"))
	until(t, v, "a b c fresh")
	for ctx := bounded(t); named(t, v, "a").Status == discovery.Expired; {
		if ctx.Err() != nil {
			t.Fatal("a is registered again, and Expired still")
		}
	}
	if got := count(t, 100, v.Pick, id); got["a"] != 100 {
		t.Errorf("a is registered again; picks: %v, want a alone", got)
	}
}

// record1 is the record of an instance that registry has registered.
func record1(id string) string {
	return fmt.Sprintf(`{"Addr":"%s:1","Metadata":{"weight":1,"status":"passing","host":"vm","pid":7}}`, id)
}

// mortal is a view of instances that stand on one lease.
func mortal(t *testing.T, opts discovery.Options, ids ...string) (*discovery.View, *clientv3.Client, string, clientv3.LeaseID) {
	t.Helper()
	cli, prefix := etcdtest.New(t)
	lease, err := cli.Grant(bounded(t), 60)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		if _, err := cli.Put(bounded(t), prefix+"web/"+id, record1(id), clientv3.WithLease(lease.ID)); err != nil {
			t.Fatal(err)
		}
	}
	opts.Prefix = prefix
	v, err := discovery.Open(bounded(t), cli, "web", &opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.Close() })
	return v, cli, prefix, lease.ID
}

func untilListed(t testing.TB, v *discovery.View, n int) {
	t.Helper()
	waitFor(t, v, fmt.Sprintf("%d instances", n), func() bool { return len(v.Instances()) == n })
}

func untilExpired(t testing.TB, v *discovery.View, n int) {
	t.Helper()
	waitFor(t, v, fmt.Sprintf("%d expired instances", n), func() bool { return v.State().Expired == n })
}

func waitFor(t testing.TB, v *discovery.View, what string, good func() bool) {
	t.Helper()
	for ctx := bounded(t); ; {
		changed := v.Changed()
		if good() {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("want %s, got %v", what, v.Instances())
		}
	}
}

func TestANewRegistrationEndsThePause(t *testing.T) {
	for what, again := range map[string]func(t *testing.T, cli *clientv3.Client, key string){
		"deleted and put again": func(t *testing.T, cli *clientv3.Client, key string) {
			if _, err := cli.Delete(bounded(t), key); err != nil {
				t.Fatal(err)
			}
			put(t, cli, key, record1("a"))
		},
		"by another process": func(t *testing.T, cli *clientv3.Client, key string) {
			put(t, cli, key, strings.Replace(record1("a"), `"pid":7`, `"pid":8`, 1))
		},
	} {
		t.Run(what, func(t *testing.T) {
			v, cli, prefix := view(t, discovery.Options{}, map[string]string{"a": record1("a"), "b": record1("b")})
			for range 4 { // a pause of 1 s, and of requests that fail together the first counts
				v.Report(named(t, v, "a"), errDown)
			}
			put(t, cli, prefix+"web/a", strings.Replace(record1("a"), `"weight":1`, `"weight":2`, 1))
			waitFor(t, v, "the new weight", func() bool { return named(t, v, "a").Weight == 2 })
			if n := count(t, 20, v.Pick, id)["a"]; n != 0 {
				t.Errorf("void: a has failed and changed its weight, and has %d of 20 picks", n)
			}
			was := named(t, v, "a")
			again(t, cli, prefix+"web/a")
			waitFor(t, v, "another registration", func() bool {
				all := v.Instances()
				return len(all) == 2 && (all[0].Created != was.Created || all[0].PID != was.PID)
			})
			if n := count(t, 20, v.Pick, id)["a"]; n != 10 {
				t.Errorf("a is registered again, and has %d of 20 picks, want 10", n)
			}
		})
	}
}

func TestRefusalsCountInARowAndNeverAgainstMoreThanHalf(t *testing.T) {
	v, _, _ := view(t, discovery.Options{}, map[string]string{"a": "h:1", "b": "h:2", "c": "h:3", "d": "h:4"})
	busy := &discovery.RefusedError{Err: errors.New("503 Service Unavailable")}
	a := named(t, v, "a")
	for range 20 { // with an answer in between they are about the requests
		v.Report(a, nil)
		v.Report(a, busy)
		v.Report(a, busy)
	}
	if got := count(t, 40, v.Pick, id); got["a"] != 10 {
		t.Errorf("two refusals in a row, and then an answer, again and again: picks %v, want 10 of each", got)
	}
	v.Report(a, busy)
	if got := count(t, 40, v.Pick, id); got["a"] != 0 {
		t.Errorf("three refusals in a row: picks %v, want none of a", got)
	}
	v.Report(named(t, v, "b"), &discovery.RefusedError{Err: busy.Err, After: time.Minute})
	if got := count(t, 40, v.Pick, id); got["a"]+got["b"] != 0 {
		t.Errorf("b said when to come back: picks %v, want c and d alone", got)
	}
	for _, rest := range []string{"c", "d"} {
		for range 2 * 5 {
			v.Report(named(t, v, rest), busy)
		}
	}
	if got := count(t, 400, v.Pick, id); got["a"]+got["b"] != 0 || !near(float64(got["c"]), 200, 0.2) {
		t.Errorf("all refuse: picks %v, want c and d, as often", got)
	}
}

func TestAPauseThatAnInstanceAsksForIsBounded(t *testing.T) {
	t.Parallel()
	v, _, _ := view(t, discovery.Options{}, map[string]string{"a": "h:1", "b": "h:2"})
	v.Report(named(t, v, "a"), &discovery.RefusedError{Err: errDown, After: 2 * time.Second})
	began := time.Now()
	for ctx := bounded(t); count(t, 1, v.Pick, id)["a"] == 0; {
		if ctx.Err() != nil {
			t.Fatal("a is never picked again")
		}
	}
	if took := time.Since(began); took < 1900*time.Millisecond {
		t.Errorf("a asked for 2s and was picked after %v", took)
	}
}

func TestTheLogHasALineForEachChangeAndNoneForEachFailure(t *testing.T) {
	var log logged
	v, _, _ := view(t, discovery.Options{Logger: log.logger()}, map[string]string{"a": "h:1", "b": "h:2"})
	a, b := named(t, v, "a"), named(t, v, "b")
	for range 5 {
		v.Report(a, errDown)
	}
	if n := log.lines(`"the instance is avoided" service=web instance=a addr=h:1 because="connection refused"`); n != 1 {
		t.Errorf("5 failures of a made %d lines, want 1:\n%s", n, log.b.String())
	}
	if n := log.lines("all instances fail"); n != 0 {
		t.Errorf("b is well, and the log says that none is:\n%s", log.b.String())
	}
	for range 5 {
		v.Report(b, errDown)
	}
	if n := log.lines("all instances fail"); n != 1 {
		t.Errorf("all have failed: %d lines say so, want 1:\n%s", n, log.b.String())
	}
	for range 5 {
		v.Report(a, nil)
		v.ReportRecovery(b)
	}
	if again, some := log.lines("the instance is used again"), log.lines("an instance of the service works again"); again != 2 || some != 1 {
		t.Errorf("both are well: %d and %d lines say so, want 2 and 1:\n%s", again, some, log.b.String())
	}
}

package main

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/compare"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/internal/means"
)

// counters are the keys that a race has left.
func counters(t *testing.T, cli *clientv3.Client) string {
	t.Helper()
	resp, err := cli.Get(t.Context(), "counter-", clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, kv := range resp.Kvs {
		all = append(all, string(kv.Key))
	}
	return strings.Join(all, " ")
}

func TestTheRaceSaysHowTheCounterEndedAndLeavesNothing(t *testing.T) {
	t.Parallel()
	cli := etcdtest.Client(t, etcdtest.NewCluster(t, nil)) // the shared one has the counters of other tests
	stdout, stderr, code := output(t, onCluster(etcdkit(t, shortDir(t), "race", "--clients", "4", "--rounds", "10", "-o", "json"), cli))
	var got compare.Progress
	if err := json.Unmarshal([]byte(stdout), &got); err != nil || code != 0 || stderr != "" || !got.OK {
		t.Fatalf("exit code %d, %v\n%s%s", code, err, stdout, stderr)
	}
	if got.Clients != 4 || got.Rounds != 10 || got.Put <= 0 || len(got.Methods) != 3 {
		t.Errorf("got %d clients, %d rounds, %v ms a Put, %d methods; want 4, 10, some, 3", got.Clients, got.Rounds, got.Put, len(got.Methods))
	}
	for i, a := range got.Methods {
		if want := compare.Locks()[i]; a.Lock != want || a.Updates != 40 || len(a.History) != 40 {
			t.Errorf("method %d is %s with %d updates and a history of %d; want %s, 40 and 40", i, a.Lock, a.Updates, len(a.History), want)
			continue
		}
		asTold(t, a, got.Put)
		if a.Lock == "none" {
			if a.HandOvers != nil {
				t.Errorf("without a lock it changed hands %d times", *a.HandOvers)
			}
			continue
		}
		if a.Counter != 0 || a.Lost != 0 {
			t.Errorf("%s: the counter ended at %d, %d lost; want 0, 0", a.Lock, a.Counter, a.Lost)
		}
		turns := 0
		for i := 1; i < len(a.History); i++ {
			if a.History[i].Client != a.History[i-1].Client {
				turns++
			}
		}
		if a.HandOvers == nil || *a.HandOvers != turns || turns < 3 {
			t.Errorf("%s: hand-overs %v, the history has %d", a.Lock, a.HandOvers, turns)
		}
	}
	if left := counters(t, cli); left != "" {
		t.Errorf("keys afterwards: %s, want none", left)
	}
}

// asTold checks a method's figures against its history.
func asTold(t *testing.T, a *compare.MethodProgress, put compare.Millis) {
	t.Helper()
	last := a.History[len(a.History)-1]
	if a.Counter != last.Value {
		t.Errorf("%s: the counter ended at %d, its history at %d", a.Lock, a.Counter, last.Value)
	}
	// What is left are additions and subtractions, and the counter is their difference.
	if kept := a.Updates - a.Lost; max(a.Counter, -a.Counter) > kept || (a.Counter+kept)%2 != 0 {
		t.Errorf("%s: the counter ended at %d with %d of %d updates lost: that cannot be", a.Lock, a.Counter, a.Lost, a.Updates)
	}
	var worst compare.Millis
	by := map[int]int{}
	for _, u := range a.History {
		worst = max(worst, u.Waited)
		by[u.Client]++
	}
	if a.WorstWait != worst {
		t.Errorf("%s: the worst wait is %v ms, that of its history %v", a.Lock, a.WorstWait, worst)
	}
	for client, n := range by {
		if n != 10 {
			t.Errorf("%s: client %d made %d updates, want 10", a.Lock, client, n)
		}
	}
	if want := float64(a.PerUpdate / put); math.Abs(float64(a.TimesPut)/want-1) > 0.01 {
		t.Errorf("%s: %v × one Put, want %v ÷ %v", a.Lock, a.TimesPut, a.PerUpdate, put)
	}
}

func TestARaceOnAClusterOfItsOwnPrintsItsResultAndNoControlCharacters(t *testing.T) {
	t.Parallel()
	means.ReserveDefaultPort(t)
	dir := shortDir(t)
	svg := filepath.Join(t.TempDir(), "race.svg")
	if err := os.Symlink("picture.svg", svg); err != nil { // what a link leads to is written, as by any program that draws
		t.Fatal(err)
	}
	stdout, stderr, code := output(t, etcdkit(t, dir, "race", "--rounds", "5", "--only", "etcdkit,none", "--svg", svg))
	if code != 0 || stderr != "" {
		t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
	}
	for _, want := range []string{
		"etcdkit race on a new cluster of 3 members\n1 client adds and 1 subtracts, 5 times each\n",
		"\nlock of etcdkit: 0 lost                  without lock: ",
		"\netcdkit         0 of 10          0 ",
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("the result has no %q:\n%s", want, stdout)
		}
	}
	for line := range strings.Lines(stdout) {
		line = strings.TrimSuffix(line, "\n")
		if width := utf8.RuneCountInString(line); width > 80 || strings.ContainsFunc(line, func(r rune) bool { return r < ' ' }) {
			t.Errorf("%d columns, or a control character: %q", width, line)
		}
	}
	picture, err := os.ReadFile(svg)
	if err != nil {
		t.Fatal(err)
	}
	for d := xml.NewDecoder(strings.NewReader(string(picture))); err == nil; {
		_, err = d.Token()
	}
	if !errors.Is(err, io.EOF) {
		t.Errorf("the SVG is not well-formed: %v\n%s", err, picture)
	}
	if !strings.Contains(string(picture), "lock of etcdkit: 0 of 10 lost, ") || strings.Count(string(picture), "<path ") != 2 {
		t.Errorf("want an SVG with two curves that says how they came out:\n%s", picture)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left behind %v, %v", left, err)
	}
}

func TestAnInterruptedRaceLeavesNothing(t *testing.T) {
	t.Parallel()
	for _, lock := range compare.Locks() {
		t.Run(lock, func(t *testing.T) {
			c := etcdtest.NewCluster(t, nil)
			cli := etcdtest.Client(t, c)
			events := cli.Watch(t.Context(), "counter-", clientv3.WithPrefix())
			cmd := onCluster(etcdkit(t, shortDir(t), "race", "--only", lock, "--clients", "4", "--rounds", "1000"), cli)
			said := newTalk()
			cmd.Stdout, cmd.Stderr = said, said
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer cmd.Process.Kill()
			awaitRace(t, events, lock)
			if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			if got := cmd.ProcessState.ExitCode(); got != exitInterrupted || !strings.HasSuffix(said.String(), "etcdkit: interrupted\n") {
				t.Errorf("exit code %d, want %d and that it was interrupted: %s", got, exitInterrupted, said)
			}
			nothingLeft(t, cli)
		})
	}
}

// awaitRace waits until clients race. The Puts to compare with have a counter of their own, that is
// always 0.
func awaitRace(t *testing.T, events clientv3.WatchChan, lock string) {
	t.Helper()
	timeout := time.After(time.Minute)
	for {
		select {
		case resp := <-events:
			if err := resp.Err(); err != nil || resp.Events == nil {
				t.Fatalf("the watch ended: %v", err)
			}
			for _, ev := range resp.Events {
				if locks := strings.Contains(string(ev.Kv.Key), "-lock/"); locks || lock == "none" && string(ev.Kv.Value) == "1" {
					return
				}
			}
		case <-timeout:
			t.Fatal("no client raced within a minute")
		}
	}
}

func nothingLeft(t *testing.T, cli *clientv3.Client) {
	t.Helper()
	if all := keys(t, cli); all != "" {
		t.Errorf("keys afterwards: %q, want none", all)
	}
	leases, err := cli.Leases(t.Context())
	if err != nil || len(leases.Leases) != 0 {
		t.Errorf("leases afterwards: %v, %v, want none", leases, err)
	}
}

func TestARaceWithoutAClusterSaysWhere(t *testing.T) {
	t.Parallel()
	cmd := etcdkit(t, shortDir(t), "race")
	cmd.Env = append(cmd.Env, "ETCDKIT_ENDPOINTS=127.0.0.1:1")
	stdout, stderr, code := output(t, cmd)
	if want := "etcdkit: no member answered: 127.0.0.1:1: connection refused (from ETCDKIT_ENDPOINTS); start that cluster, or unset ETCDKIT_ENDPOINTS: then a new cluster is started\n"; code != 1 || stdout != "" || !strings.HasPrefix(stderr, want) {
		t.Errorf("got %q, exit code %d, want %q", stdout+stderr, code, want)
	}
}

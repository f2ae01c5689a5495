// The tests run each example as a process of its own against a real etcd.
package examples_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/internal/golden"
	clientv3 "go.etcd.io/etcd/client/v3"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// sources are the examples, by the name of the program: first the six of the text that the project grew from.
func sources() map[string]string {
	return map[string]string{
		"basic":    "basic/basic.go",
		"watch":    "watch/watch.go",
		"lease":    "lease/lease.go",
		"sr":       "sr/service-register.go",
		"sd":       "sd/service-discovery.go",
		lock:       "concurrency-by-distributed-lock/concurrency-by-distributed-lock.go",
		"election": "election/election.go",
		"config":   "config/config.go",
		"fence":    "fence/fence.go",
		"grpc":     "grpc/grpc.go",
	}
}

const lock = "concurrency-by-distributed-lock"

// arguments are the words that an example needs.
func arguments(name string, flags ...string) []string {
	if name == "grpc" {
		return append(flags, "serve")
	}
	return flags
}

func TestEachExampleIsOneFileAndSaysHowToTryIt(t *testing.T) {
	for name, source := range sources() {
		text, err := os.ReadFile(source)
		if err != nil {
			t.Error(err)
			continue
		}
		if head, _, _ := strings.Cut(string(text), "package main"); !strings.Contains(head, "\n// Try it: go run ./examples/"+name) {
			t.Errorf("%s does not say on top how to try it:\n%s", source, head)
		}
		if files, _ := filepath.Glob(filepath.Dir(source) + "/*.go"); len(files) != 1 {
			t.Errorf("%s is not the only file of its example: %v", source, files)
		}
	}
}

// TestEachExampleCanBeCopiedAlone compiles each in a module of its own that only requires etcdkit, as a user
// with a copy of one file has it. What is internal to etcdkit cannot be imported there.
func TestEachExampleCanBeCopiedAlone(t *testing.T) {
	dir := t.TempDir()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	module := regexp.MustCompile(`(?m)^module .*$`).ReplaceAllString(string(mod), "module copied.example/program") +
		"\nrequire github.com/etcdkit/etcdkit v0.0.0\n\nreplace github.com/etcdkit/etcdkit => " + root + "\n"
	files := map[string]string{"go.mod": module}
	sums, err := os.ReadFile(filepath.Join(root, "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	files["go.sum"] = string(sums)
	for _, source := range sources() {
		text, err := os.ReadFile(source)
		if err != nil {
			t.Fatal(err)
		}
		files[source] = string(text)
	}
	for name, text := range files {
		name = filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	build := exec.CommandContext(limit(t), "go", "build", "-mod=mod", "-o", os.DevNull, "./...")
	build.Dir = dir
	build.Env = append(os.Environ(), "GOPROXY=off", "GOFLAGS=", "GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestAnUnknownFlagPrintsTheUsageAndExits2(t *testing.T) {
	for name := range sources() {
		p := start(t, name, "-nonsense")
		p.exits(t, 2)
		checkOutput(t, name+"-usage", p.stderr.all())
		if out := p.stdout.all(); out != "" {
			t.Errorf("%s: stdout is %q, want nothing", name, out)
		}
	}
}

func TestAWordTooManyOrANegativeRevisionPrintsTheUsageOfWatch(t *testing.T) {
	for _, args := range [][]string{{"sample_keys"}, {"-rev", "-1"}} {
		p := start(t, "watch", args...)
		p.exits(t, 2)
		p.says(t, "Usage of watch:")
	}
}

func TestAnUnreachableClusterIsNamedWithTheReason(t *testing.T) {
	nowhere := etcdtest.Addr(t)
	all := map[string]*process{} // at once: each takes its time to be sure
	for name := range sources() {
		all[name] = start(t, name, arguments(name, "-endpoints", nowhere)...)
	}
	for name, p := range all {
		p.exits(t, 1)
		p.says(t, "client: no member answered: "+nowhere+": connection refused")
		prefix := name + ": "
		if name == lock {
			prefix = "lock: "
		}
		if got := p.stderr.all(); !strings.HasPrefix(got, prefix) || strings.Count(got, "\n") != 1 {
			t.Errorf("%s: stderr is %q, want one line that begins with %q", name, got, prefix)
		}
		if out := p.stdout.all(); out != "" {
			t.Errorf("%s: stdout is %q, want nothing", name, out)
		}
	}
}

func TestAMalformedEndpointIsNamed(t *testing.T) {
	for name := range sources() {
		p := start(t, name, arguments(name, "-endpoints", "localhost:2379,http://:what")...)
		p.exits(t, 1)
		p.says(t, `"http://:what"`)
	}
}

func TestEndpointsComeFromTheEnvironmentOrTheFlagWhichGoesFirst(t *testing.T) {
	cli, _ := etcdtest.New(t)
	forget(t, cli, "sample_keys")
	startWith(t, []string{"ETCDKIT_ENDPOINTS=" + endpoints(cli)}, "basic").exits(t, 0)
	startWith(t, []string{"ETCDKIT_ENDPOINTS=localhost:1"}, "basic").exits(t, 1)
	startWith(t, []string{"ETCDKIT_ENDPOINTS=localhost:1"}, "basic", "-endpoints", endpoints(cli)).exits(t, 0)
}

func TestBasicPutsAKeyAndGetsItBack(t *testing.T) {
	cli, _ := etcdtest.New(t)
	forget(t, cli, "sample_keys")
	p := start(t, "basic", "-endpoints", endpoints(cli))
	p.exits(t, 0)
	checkOutput(t, "basic", p.stdout.all())
	if got := value(t, cli, "sample_keys"); got != "sample_value" {
		t.Errorf("sample_keys is %q in etcd, want sample_value", got)
	}
}

func TestWatchPrintsEachChangeOfItsKeyUntilInterrupted(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	p := start(t, "watch", "-endpoints", endpoints(cli), "-key", prefix+"a")
	p.says(t, "watching")
	put(t, cli, prefix+"a", "1")
	put(t, cli, prefix+"ab", "not watched")
	put(t, cli, prefix+"a", `2 "quoted"`)
	remove(t, cli, prefix+"a")
	p.prints(t, fmt.Sprintf(`Watcher - DELETE "%sa" : ""`, prefix))
	p.signal(t, syscall.SIGINT)
	p.exits(t, 0)
	checkOutput(t, "watch", strings.ReplaceAll(p.stdout.all(), prefix, "PREFIX/"))
	checkOutput(t, "watch-stderr", strings.ReplaceAll(p.stderr.all(), prefix, "PREFIX/"))
}

func TestWatchWithAPrefixPrintsAllKeysBelow(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	p := start(t, "watch", "-endpoints", endpoints(cli), "-key", prefix, "-prefix")
	p.says(t, "watching")
	put(t, cli, prefix+"b", "1")
	put(t, cli, prefix+"a", "2")
	p.prints(t, fmt.Sprintf(`Watcher - PUT "%sb" : "1"`, prefix))
	p.prints(t, fmt.Sprintf(`Watcher - PUT "%sa" : "2"`, prefix))
	p.signal(t, syscall.SIGTERM)
	p.exits(t, 0)
}

func TestWatchSurvivesCompactionAndSaysSo(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	first := put(t, cli, prefix+"k", "lost")
	put(t, cli, prefix+"k", "lost, too")
	last := put(t, cli, prefix+"k", "the last before the compaction")
	put(t, cli, prefix+"k", "the first after it")
	if _, err := cli.Compact(limit(t), last); err != nil {
		t.Fatal(err)
	}
	p := start(t, "watch", "-endpoints", endpoints(cli), "-key", prefix+"k", "-rev", strconv.FormatInt(first, 10))
	p.prints(t, fmt.Sprintf("Watcher - compacted at revision %d, resuming at %d instead of %d", last, last, first))
	p.prints(t, fmt.Sprintf(`Watcher - PUT "%sk" : "the last before the compaction"`, prefix))
	p.prints(t, fmt.Sprintf(`Watcher - PUT "%sk" : "the first after it"`, prefix))
	put(t, cli, prefix+"k", "live")
	p.prints(t, fmt.Sprintf(`Watcher - PUT "%sk" : "live"`, prefix))
	p.signal(t, syscall.SIGINT)
	p.exits(t, 0)
	if got := strings.Count(p.stdout.all(), "\n"); got != 4 {
		t.Errorf("%d lines, want 4: each change once", got)
	}
}

func TestLeaseShowsItsKeyEndAndNotBeforeTheTTL(t *testing.T) {
	t.Parallel()
	cli, _ := etcdtest.New(t)
	p := start(t, "lease", "-endpoints", endpoints(cli))
	id := leaseOf(t, p)
	p.exits(t, 0)
	checkOutput(t, "lease", p.stdout.all())
	match := regexp.MustCompile(`gone ([\d.]+) s`).FindStringSubmatch(p.stdout.all())
	if after, err := strconv.ParseFloat(match[1], 64); err != nil || after < 5 {
		t.Errorf("gone after %s s, want at least the TTL: %v", match[1], err)
	}
	if got := value(t, cli, "fooForLease"); got != "" {
		t.Errorf("fooForLease is still there: %q", got)
	}
	leaseIsGone(t, cli, id)
}

func TestAnInterruptedLeaseLeavesNothing(t *testing.T) {
	cli, _ := etcdtest.New(t)
	p := start(t, "lease", "-endpoints", endpoints(cli))
	id := leaseOf(t, p)
	p.await(t, &p.stdout, "^ttl:  5$")
	p.signal(t, syscall.SIGINT)
	p.exits(t, 1)
	p.says(t, "interrupt")
	leaseIsGone(t, cli, id)
	if got := value(t, cli, "fooForLease"); got != "" {
		t.Errorf("fooForLease is still there: %q", got)
	}
}

func TestTheLockLosesNothingAndWithoutItUpdatesAreLost(t *testing.T) {
	cli, _ := etcdtest.New(t)
	const n = 50
	p := start(t, lock, "-endpoints", endpoints(cli))
	p.exits(t, 0)
	checkOutput(t, "lock", p.stdout.all())

	counter, lost, total := outcome(t, p, "without lock")
	if total != 2*n || lost == 0 {
		t.Errorf("without lock %d of %d updates were lost, want some of %d", lost, total, 2*n)
	}
	// What is left are additions and subtractions, at most n of each, and the counter is their difference.
	if abs := max(counter, -counter); abs > lost || (abs+lost)%2 != 0 {
		t.Errorf("counter %d and %d of %d updates lost: that cannot be", counter, lost, total)
	}
	for _, name := range []string{"lock of clientv3", "lock of etcdkit"} {
		if counter, lost, total := outcome(t, p, name); counter != 0 || lost != 0 || total != 2*n {
			t.Errorf("%s: counter %d, %d of %d updates lost, want 0, 0 of %d", name, counter, lost, total, 2*n)
		}
	}
	nothingIsLeftOf(t, cli, "counter-")
}

func TestAnInterruptedLockLeavesNothing(t *testing.T) {
	for name, c := range map[string]struct{ only, key string }{
		"without lock":     {"none", `^counter-[^-]+$`},
		"lock of clientv3": {"clientv3", `^counter-[^-]+-lock/`},
		"lock of etcdkit":  {"etcdkit", `^counter-[^-]+-lock/`},
	} {
		t.Run(name, func(t *testing.T) {
			cli, _ := etcdtest.New(t)
			events := cli.Watch(limit(t), "counter-", clientv3.WithPrefix())
			p := start(t, lock, "-endpoints", endpoints(cli), "-only", c.only, "-n", "100000")
			await(t, events, func(ev *clientv3.Event) bool { return regexp.MustCompile(c.key).Match(ev.Kv.Key) })
			p.signal(t, syscall.SIGINT)
			p.exits(t, 1)
			p.says(t, "lock: interrupt")
			nothingIsLeftOf(t, cli, "counter-")
		})
	}
}

func TestAnUnknownLockOrNoUpdatesPrintTheUsageOfTheLock(t *testing.T) {
	for _, args := range [][]string{{"-only", "zookeeper"}, {"-n", "0"}, {"50"}} {
		p := start(t, lock, args...)
		p.exits(t, 2)
		p.says(t, "want at least 1 update, one of none, clientv3 and etcdkit, and no other words")
	}
}

// outcome reads the result of one run.
func outcome(t *testing.T, p *process, name string) (counter, lost, total int) {
	t.Helper()
	match := p.await(t, &p.stdout, "^("+name+`): counter (-?\d+) \(want 0\) · (\d+) of (\d+) updates lost · \d+\.\d ms each$`)
	for i, to := range []*int{&counter, &lost, &total} {
		*to, _ = strconv.Atoi(match[i+2]) // digits, says the pattern
	}
	return counter, lost, total
}

func leaseOf(t *testing.T, p *process) clientv3.LeaseID {
	t.Helper()
	id, err := strconv.ParseInt(p.await(t, &p.stdout, "lease ([0-9a-f]+)")[1], 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	return clientv3.LeaseID(id)
}

func leaseIsGone(t *testing.T, cli *clientv3.Client, id clientv3.LeaseID) {
	t.Helper()
	resp, err := cli.TimeToLive(limit(t), id)
	if err != nil {
		t.Fatal(err)
	}
	if resp.TTL != -1 {
		t.Errorf("lease %x still lives for %d s", id, resp.TTL)
	}
}

func nothingIsLeftOf(t *testing.T, cli *clientv3.Client, prefix string) {
	t.Helper()
	resp, err := cli.Get(limit(t), prefix, clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	for _, kv := range resp.Kvs {
		t.Errorf("%s is left behind", kv.Key)
	}
}

// await waits for an event.
func await(t *testing.T, events clientv3.WatchChan, want func(*clientv3.Event) bool) {
	t.Helper()
	for resp := range events {
		if err := resp.Err(); err != nil {
			t.Fatal(err)
		}
		for _, ev := range resp.Events {
			if want(ev) {
				return
			}
		}
	}
	t.Fatal("the watch has ended without the event")
}

func awaitDelete(t *testing.T, events clientv3.WatchChan, key string) {
	t.Helper()
	await(t, events, func(ev *clientv3.Event) bool {
		return ev.Type == clientv3.EventTypeDelete && string(ev.Kv.Key) == key
	})
}

// limit is a context for one call, or one wait.
func limit(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func endpoints(cli *clientv3.Client) string { return strings.Join(cli.Endpoints(), ",") }

// forget makes sure that a key with a fixed name does not outlast the test.
func forget(t *testing.T, cli *clientv3.Client, key string) {
	t.Helper()
	remove(t, cli, key)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if _, err := cli.Delete(ctx, key); err != nil {
			t.Error(err)
		}
	})
}

func put(t *testing.T, cli *clientv3.Client, key, value string) (revision int64) {
	t.Helper()
	resp, err := cli.Put(limit(t), key, value)
	if err != nil {
		t.Fatal(err)
	}
	return resp.Header.Revision
}

func remove(t *testing.T, cli *clientv3.Client, key string, opts ...clientv3.OpOption) {
	t.Helper()
	if _, err := cli.Delete(limit(t), key, opts...); err != nil {
		t.Fatal(err)
	}
}

// value is that of key, or empty when there is none.
func value(t *testing.T, cli *clientv3.Client, key string) string {
	t.Helper()
	resp, err := cli.Get(limit(t), key)
	if err != nil {
		t.Fatal(err)
	}
	if len(resp.Kvs) == 0 {
		return ""
	}
	return string(resp.Kvs[0].Value)
}

// checkOutput compares text, but for what differs from run to run, with testdata/name.golden.
func checkOutput(t *testing.T, name, text string) {
	t.Helper()
	for _, varies := range []struct{ pattern, constant string }{
		{`lease [0-9a-f]{6,16}`, "lease HEX"},
		{` +((member_id|raft_term|(create_|mod_)?revision|version|value):)`, " $1"}, // protobuf's text has one space or two
		{`(cluster_id|member_id|raft_term|revision):\d+`, "$1:N"},
		{`token \d+`, "token N"},
		{`from \d+ to \d+`, "from N to N"},
		{`(revision) \d+`, "$1 N"},
		{`gone [\d.]+ s`, "gone N.N s"},
		{`counter -?\d+ \(want 0\) · [1-9]\d* of`, "counter N (want 0) · N of"},
		{`lost · [\d.]+ ms`, "lost · N.N ms"},
	} {
		text = regexp.MustCompile(varies.pattern).ReplaceAllString(text, varies.constant)
	}
	golden.Check(t, name, text, *update)
}

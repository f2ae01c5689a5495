package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/etcdkit/etcdkit/etcdtest"
)

// since is a flag with which no change is missed that the test makes after it.
func since(revision int64) string { return "--rev=" + strconv.FormatInt(revision+1, 10) }

func TestWatchRunsItsCommandAtAChangeAndNotBefore(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	now := putKey(t, cli, prefix+"a", "1")
	k := keep(t, cli.Endpoints(), "watch", prefix, "--prefix", since(now), "--", "sh", "-c", `cat; echo "$ETCD_WATCH_EVENT_TYPE $ETCD_WATCH_KEY $ETCD_WATCH_VALUE $ETCD_WATCH_REVISION"`)
	rev := putKey(t, cli, prefix+"a", `say "hi"`)
	k.wants(
		fmt.Sprintf(`{"revision":%[1]d,"reason":"changed","changes":[{"type":"put","key":"%[2]sa","value":"say \"hi\"","prev_value":"1","revision":%[1]d,"create_revision":%[3]d,"version":2,"lease":"0","synthesised":false}]}`, rev, prefix, now),
		fmt.Sprintf(`PUT %sa say "hi" %d`, prefix, rev))
	del, err := cli.Delete(t.Context(), prefix+"a")
	if err != nil {
		t.Fatal(err)
	}
	k.line()
	k.wants(fmt.Sprintf("DELETE %sa  %d", prefix, del.Header.Revision))
	k.signal(syscall.SIGINT)
	k.ends(exitInterrupted)
	if said := k.stderr.String(); said != "" {
		t.Errorf("it said %q", said)
	}
}

func TestWhatChangesDuringARunIsOneBatchForTheNext(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	now := putKey(t, cli, prefix+"a", "1")
	goOn := filepath.Join(t.TempDir(), "go-on")
	if err := syscall.Mkfifo(goOn, 0o600); err != nil {
		t.Fatal(err)
	}
	k := keep(t, cli.Endpoints(), "watch", prefix, "--prefix", since(now), "--debounce=0", "--", "sh", "-c",
		`read json; echo begin $ETCDKIT_WATCH_CHANGES; cat `+goOn+`; echo end`)
	putKey(t, cli, prefix+"a", "2")
	k.wants("begin 1")
	for _, key := range []string{"a", "b", "c", "a"} { // three keys, one of them twice
		putKey(t, cli, prefix+key, "3")
	}
	release := func() {
		t.Helper()
		if err := os.WriteFile(goOn, []byte("on\n"), 0); err != nil { // waits for the reader
			t.Fatal(err)
		}
	}
	release()
	k.wants("on", "end", "begin 3")
	release()
	k.wants("on", "end")
	k.signal(syscall.SIGHUP) // which does not end a wrapper
	k.signal(syscall.SIGTERM)
	k.ends(128 + int(syscall.SIGTERM))
}

func TestAFailureOfTheCommandIsSaidAndTheNextChangeRunsIt(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	now := putKey(t, cli, prefix+"a", "1")
	k := keep(t, cli.Endpoints(), "watch", prefix+"a", since(now), "--", "sh", "-c", `echo $ETCD_WATCH_VALUE; exit 7`)
	putKey(t, cli, prefix+"a", "2")
	k.wants("2")
	k.stderr.wait(t, "etcdkit: sh: exit code 7")
	putKey(t, cli, prefix+"ab", "not watched")
	putKey(t, cli, prefix+"a", "3")
	k.wants("3")
	k.signal(syscall.SIGINT)
	k.ends(exitInterrupted)

	k = keep(t, cli.Endpoints(), "watch", prefix+"a", since(now), "--exit-on-error", "--", "sh", "-c", "exit 7")
	k.ends(7)
}

func TestCtrlCEndsTheCommandAndTheWatch(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	now := putKey(t, cli, prefix+"a", "1")
	for name, tc := range map[string]struct{ trap, grace, heard string }{
		"it ends":           {`trap "echo heard; exit 0" INT`, "10s", "heard"},
		"it does not":       {`trap "echo heard" INT`, "1s", "heard"},
		"its child ends it": {`:`, "10s", ""},
	} {
		t.Run(name, func(t *testing.T) {
			k := keep(t, cli.Endpoints(), "watch", prefix+"a", "--rev", strconv.FormatInt(now, 10), "--kill-grace", tc.grace, "--", "sh", "-c", tc.trap+`; echo begin; while :; do sleep 0.05; done`)
			k.wants("begin")
			k.signal(syscall.SIGINT)
			if tc.heard != "" {
				k.wants(tc.heard)
			}
			k.ends(exitInterrupted)
		})
	}
}

func TestACommandThatExitsWith130ByItselfDoesNotEndTheWatch(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	now := putKey(t, cli, prefix+"a", "1")
	k := keep(t, cli.Endpoints(), "watch", prefix+"a", since(now), "--", "sh", "-c", "echo $ETCD_WATCH_VALUE; exit 130")
	for _, value := range []string{"2", "3"} {
		putKey(t, cli, prefix+"a", value)
		k.wants(value)
	}
	k.stderr.wait(t, "exit code 130")
	k = keep(t, cli.Endpoints(), "watch", prefix+"a", "--initial", "run", "--", "sh", "-c", "kill -INT $$")
	k.ends(exitInterrupted)
}

func TestASignalBeforeTheCommandIs128AndItsNumber(t *testing.T) {
	t.Parallel()
	spec, _ := templateFor(t, "text")
	for _, args := range [][]string{
		{"watch", "a"}, {"env", "-p", "a"}, {"render", spec}, {"elect", "a"}, {"lock", "--timeout", "1h", "a"},
	} {
		k := keep(t, []string{"127.0.0.1:1"}, append(args, "--", "echo", "started")...)
		k.stderr.wait(t, "127.0.0.1:1")
		k.signal(syscall.SIGTERM)
		k.ends(128 + int(syscall.SIGTERM))
	}
}

func TestACommandThatRunsOnGetsTheSignalAndItsExitCodeCounts(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	now := putKey(t, cli, prefix+"a", "1")
	k := keep(t, cli.Endpoints(), "watch", prefix+"a", since(now), "--on-change", "signal=USR1", "--", "sh", "-c",
		`trap "echo usr1" USR1; trap "echo hup" HUP; trap "echo term; exit 9" TERM; echo up; while :; do sleep 0.05; done`)
	k.wants("up")
	putKey(t, cli, prefix+"a", "2")
	k.wants("usr1")
	k.signal(syscall.SIGHUP) // of another program: it is passed on, and nothing ends
	k.wants("hup")
	putKey(t, cli, prefix+"a", "3")
	k.wants("usr1")
	k.signal(syscall.SIGTERM)
	k.wants("term")
	k.ends(9)
}

func TestACommandThatRunsOnIsStartedAgainAtAChange(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	now := putKey(t, cli, prefix+"a", "1")
	k := keep(t, cli.Endpoints(), "watch", prefix+"a", since(now), "--on-change", "restart", "--kill-grace", "200ms", "--", "sh", "-c",
		`trap "echo term" TERM; echo "up $ETCD_WATCH_VALUE"; while :; do sleep 0.05; done`)
	k.wants("up ")
	putKey(t, cli, prefix+"a", "2")
	k.wants("term", "up 2") // it does not end by itself
	k.signal(syscall.SIGTERM)
	k.wants("term")
	k.ends(128 + int(syscall.SIGKILL))

	k = keep(t, cli.Endpoints(), "watch", prefix+"a", "--on-change", "restart", "--", "sh", "-c", "exit 3")
	k.ends(3)
}

func TestWatchMissesNothingWhileEtcdIsAwayAndCompacts(t *testing.T) {
	t.Parallel()
	direct, gate, target := gated(t)
	now := putKey(t, direct, "p/a", "1")
	putKey(t, direct, "p/b", "1")
	k := keep(t, []string{gate.Addr()}, "watch", "p/", "--prefix", "--prev-kv", "--rev", strconv.FormatInt(now, 10))
	k.wants(fmt.Sprintf("%d  put     p/a = 1", now), fmt.Sprintf("%d  put     p/b = 1", now+1))
	gate.SetTarget("")
	putKey(t, direct, "p/a", "2")
	last := putKey(t, direct, "p/a", "3")
	del, err := direct.Delete(t.Context(), "p/b")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := direct.Compact(t.Context(), del.Header.Revision); err != nil {
		t.Fatal(err)
	}
	k.stderr.wait(t, "no news from etcd since")
	gate.SetTarget(target)
	if got, want := k.line(), fmt.Sprintf("%d  put     p/a = 3  (was 1)", last); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := k.line(); !strings.HasSuffix(got, "delete  p/b  (was 1)") {
		t.Errorf("got %q, want the deletion", got)
	}
	k.stderr.wait(t, "etcd is back")
	k.stderr.wait(t, "found by comparing")
	k.signal(syscall.SIGINT)
	k.ends(exitInterrupted)
}

func TestWatchWaitsForEtcdAtItsStart(t *testing.T) {
	t.Parallel()
	direct, gate, target := gated(t)
	gate.SetTarget("")
	k := keep(t, []string{gate.Addr()}, "watch", "a", "--initial=run", "--once", "--", "sh", "-c", "echo ran $ETCDKIT_WATCH_REASON")
	k.stderr.wait(t, "trying for")
	putKey(t, direct, "a", "1")
	gate.SetTarget(target)
	k.wants("ran initial")
	k.ends(0)

	k = keep(t, []string{"127.0.0.1:1"}, "watch", "a", "--start-timeout", "200ms")
	k.ends(4)
	k = keep(t, []string{"127.0.0.1:1"}, "watch", "a", "--start-timeout", "200ms", "--", "true")
	k.ends(125)
}

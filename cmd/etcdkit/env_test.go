package main

import (
	"strings"
	"syscall"
	"testing"

	"github.com/etcdkit/etcdkit/etcdtest"
)

func TestEnvRestartsItsCommandWhenItsVariablesHaveChanged(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	putKey(t, cli, prefix+"app/db/host", "db1")
	k := keep(t, cli.Endpoints(), "env", "-p", prefix+"app", "--upcase", "--debounce", "100ms", "--", "sh", "-c",
		`trap "echo term; exit 9" TERM; echo "$DB_HOST $PORT"; while :; do sleep 0.05; done`)
	k.wants("db1 ")
	putKey(t, cli, prefix+"app/db/host", "db1") // the same value: nothing to do
	putKey(t, cli, prefix+"app/not-a-name", "x")
	k.stderr.wait(t, "sh keeps the variables that it has: key")
	if _, err := cli.Delete(t.Context(), prefix+"app/not-a-name"); err != nil {
		t.Fatal(err)
	}
	putKey(t, cli, prefix+"app/PORT", "80")
	k.wants("term", "db1 80")
	k.signal(syscall.SIGTERM)
	k.wants("term")
	k.ends(9)
}

func TestEnvSendsASignalOrNothing(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	putKey(t, cli, prefix+"app/A", "1")
	for policy, want := range map[string][]string{"signal": {"hup"}, "none": nil} {
		k := keep(t, cli.Endpoints(), "env", "-p", prefix+"app", "--debounce", "0", "--on-change", policy, "--", "sh", "-c",
			`trap "echo hup" HUP; trap "echo usr1" USR1; echo up; while :; do sleep 0.05; done`)
		k.wants("up")
		putKey(t, cli, prefix+"app/A", policy)
		k.wants(want...)
		k.signal(syscall.SIGUSR1)
		k.wants("usr1")
		k.signal(syscall.SIGINT)
		k.ends(exitInterrupted)
	}
}

func TestEnvSaysThatEtcdIsAwayAlsoAfterAHangUp(t *testing.T) {
	t.Parallel()
	direct, gate, target := gated(t)
	putKey(t, direct, "p/A", "1")
	for _, args := range [][]string{{"env", "-p", "p", "-p", "q"}, {"watch", "p/", "--prefix", "--on-change", "signal"}} {
		k := keep(t, []string{gate.Addr()}, append(args, "--", "sh", "-c", `trap "echo hup" HUP; echo up; while :; do sleep 0.05; done`)...)
		k.wants("up")
		k.signal(syscall.SIGHUP)
		k.wants("hup")
		gate.SetTarget("")
		k.stderr.wait(t, "no news from etcd")
		gate.SetTarget(target)
		k.stderr.wait(t, "etcd is back")
		k.signal(syscall.SIGINT)
		k.ends(exitInterrupted)
	}
}

func TestThePasswordIsReadOnceAndTheCommandHasTheRestOfStdin(t *testing.T) {
	t.Parallel()
	direct, gate, target := gated(t)
	putKey(t, direct, "p/A", "1")
	for _, args := range [][]string{
		{"env", "-p", "p"}, {"elect", "jobs"}, {"lock", "jobs"}, {"svc", "register", "web", "--port", "80", "--drain", "1ms"},
	} {
		if args[0] == "env" || args[0] == "svc" {
			gate.SetTarget("") // so that there is a second try
		}
		all := append(args, "--dial-timeout", "2s", "--user", "amy", "--password-file", "-", "--", "sh", "-c", `while read -r line; do echo "$line"; done; exec sleep 600`)
		k := keepWith(t, strings.NewReader("secret\nfirst\nsecond\n"), []string{gate.Addr()}, all...)
		if args[0] == "env" || args[0] == "svc" {
			k.stderr.wait(t, gate.Addr())
			gate.SetTarget(target)
		}
		k.wants("first", "second")
		k.signal(syscall.SIGINT)
		k.ends(exitInterrupted)
	}
}

func TestEnvIsNotStartedBeforeItHasReadItsKeysAndLivesOnWithoutEtcd(t *testing.T) {
	t.Parallel()
	direct, gate, target := gated(t)
	putKey(t, direct, "app/A", "1")
	gate.SetTarget("")
	k := keep(t, []string{gate.Addr()}, "env", "-p", "app", "--debounce", "0", "--", "sh", "-c",
		`trap "exit 0" TERM; echo "A is $A"; while :; do sleep 0.05; done`)
	k.stderr.wait(t, "trying for")
	gate.SetTarget(target)
	k.wants("A is 1")
	gate.SetTarget("")
	k.stderr.wait(t, "no news from etcd")
	putKey(t, direct, "app/A", "2")
	gate.SetTarget(target)
	k.wants("A is 2")
	k.signal(syscall.SIGTERM)
	k.ends(0)

	k = keep(t, []string{"127.0.0.1:1"}, "env", "-p", "app", "--start-timeout", "200ms", "--", "echo", "started")
	k.ends(125)
}

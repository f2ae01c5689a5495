package main

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unicode/utf8"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/tour"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/internal/means"
)

// onCluster points a command at the cluster of a client, through the environment.
func onCluster(cmd *exec.Cmd, cli *clientv3.Client) *exec.Cmd {
	cmd.Env = append(cmd.Env, "ETCDCTL_ENDPOINTS="+strings.Join(cli.Endpoints(), ","))
	return cmd
}

// keys are all the cluster's.
func keys(t *testing.T, cli *clientv3.Client) string {
	t.Helper()
	resp, err := cli.Get(t.Context(), "", clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, kv := range resp.Kvs {
		all = append(all, string(kv.Key))
	}
	return strings.Join(all, " ")
}

func TestTheTourPassesOnTheClusterOfTheEnvironmentAndLeavesItAsItWas(t *testing.T) {
	t.Parallel()
	c := etcdtest.NewCluster(t, nil)
	cli := etcdtest.Client(t, c)
	if _, err := cli.Put(t.Context(), "a user's", "key"); err != nil {
		t.Fatal(err)
	}
	dir := shortDir(t)
	stdout, stderr, code := output(t, onCluster(etcdkit(t, dir, "tour", "--shop", "-o", "json"), cli))
	var got tour.Report
	if err := json.Unmarshal([]byte(stdout), &got); err != nil || code != 0 || !got.OK {
		t.Fatalf("exit code %d, %v\n%s%s", code, err, stdout, stderr)
	}
	if at := strings.IndexAny(stdout, "─│┌└├┤┼╭╮╰╯"); at >= 0 {
		t.Errorf("the JSON has a picture in it: …%s", stdout[at:])
	}
	for _, s := range got.Steps[:2] {
		var members []any
		if err := json.Unmarshal(s.Data, &members); err != nil || len(members) != 3 {
			t.Errorf("%s: data %s, %v, want that of three members", s.Name, s.Data, err)
		}
	}
	if !strings.Contains(stderr, "etcdkit tour: 6 distributed lock\n") {
		t.Errorf("stderr tells no progress: %q", stderr)
	}
	if at := slices.IndexFunc(got.Steps, func(s *tour.Result) bool { return strings.Contains(s.Skipped, "not the tour's own") }); at != 9 {
		t.Errorf("the lesson that kills a leader is not the one that was skipped: %d", at)
	}
	var names []string
	for _, s := range got.Steps {
		names = append(names, s.Name)
		if s.Skipped != "" {
			continue
		}
		if len(s.Checks) == 0 || len(s.Commands) == 0 {
			t.Errorf("step %q checked nothing: %+v", s.Name, s)
		}
	}
	want := "cluster: status, cluster: health, cluster: keys, 1 basic, 2 watch, 3 lease, 4 service register, 5 service discovery, 6 distributed lock, 7 failover, 8 shop"
	if all := strings.Join(names, ", "); all != want {
		t.Errorf("got steps %s, want %s", all, want)
	}
	if all := keys(t, cli); all != "a user's" {
		t.Errorf("keys afterwards: %q, want what was there before", all)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left behind %v, %v", left, err)
	}
}

func TestTheTourKillsTheLeaderOfItsOwnClusterAndFits80Columns(t *testing.T) {
	t.Parallel()
	means.ReserveDefaultPort(t)
	dir := shortDir(t)
	stdout, stderr, code := output(t, etcdkit(t, dir, "tour"))
	if code != 0 || stderr != "" {
		t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
	}
	for _, want := range []string{
		"etcdkit tour on a new cluster of three members\n", "\n── 7 failover ──", " killed · quorum 2/3 · new leader etcd",
		"✓ the lock was never lost: its holder wrote its work with token ", "✓ at least 300 requests were answered: ", "✓ none failed\n", "\n  go run ./cmd/etcdkit dev kill leader\n",
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("the tour has no %q:\n%s", want, stdout)
		}
	}
	for line := range strings.Lines(stdout) {
		line = strings.TrimSuffix(line, "\n")
		if n := utf8.RuneCountInString(line); n > 80 || strings.ContainsFunc(line, func(r rune) bool { return r < ' ' }) {
			t.Errorf("%d columns, or a control character: %q", n, line)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left behind %v, %v", left, err)
	}
}

func TestTheTourRefusesToOverwriteAUsersKeys(t *testing.T) {
	t.Parallel()
	c := etcdtest.NewCluster(t, nil)
	cli := etcdtest.Client(t, c)
	if _, err := cli.Put(t.Context(), "/web/shop", "in production"); err != nil {
		t.Fatal(err)
	}
	stdout, stderr, code := output(t, onCluster(etcdkit(t, shortDir(t), "tour"), cli))
	if code != 1 || strings.Count(stdout, "\n") != 2 || !strings.Contains(stderr, `has a key "/web/shop", where the tour's examples write; end the process that keeps it, or delete it (etcdkit ctl del /web/shop), or unset`) {
		t.Errorf("got %q, exit code %d, want a refusal that names the key", stdout+stderr, code)
	}
	if all := keys(t, cli); all != "/web/shop" {
		t.Errorf("keys afterwards: %q, want what was there before", all)
	}
}

func TestAnInterruptedTourLeavesNothing(t *testing.T) {
	t.Parallel()
	c := etcdtest.NewCluster(t, nil)
	cli := etcdtest.Client(t, c)
	dir := shortDir(t)
	cmd := onCluster(etcdkit(t, dir, "tour"), cli)
	said := newTalk()
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said.wait(t, "put fooForLease") // in the middle of an example
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); got != exitInterrupted {
		t.Errorf("exit code %d, want %d\n%s", got, exitInterrupted, said)
	}
	if !strings.HasSuffix(said.String(), "\netcdkit: interrupted\n") {
		t.Errorf("it does not say at its end that it was interrupted:\n%s", said)
	}
	if all := keys(t, cli); all != "" {
		t.Errorf("keys afterwards: %q, want none", all)
	}
	leases, err := cli.Leases(t.Context())
	if err != nil || len(leases.Leases) != 0 {
		t.Errorf("leases afterwards: %v, %v, want none", leases, err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left behind %v, %v", left, err)
	}
}

// As with "etcdkit tour | head -1".
func TestATourWithoutAReaderEndsAndLeavesNothing(t *testing.T) {
	t.Parallel()
	means.ReserveDefaultPort(t)
	dir := shortDir(t)
	cmd := etcdkit(t, dir, "tour")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Error(err)
	}
	out.Close()
	_ = cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); got != exitUnread {
		t.Errorf("exit code %d (%v), want %d", got, cmd.ProcessState, exitUnread)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

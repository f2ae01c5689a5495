package main

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/election"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/lock"
)

// onEtcd makes a command of the program that works on a test's etcd.
func onEtcd(t *testing.T, cli *clientv3.Client, args ...string) *exec.Cmd {
	t.Helper()
	cmd := etcdkit(t, shortDir(t), args...)
	cmd.Env = append(cmd.Env, "ETCDKIT_ENDPOINTS="+strings.Join(cli.Endpoints(), ","))
	cmd.Stderr = os.Stderr
	return cmd
}

// elected is "etcdkit elect", whose command says its process each time that it begins.
type elected struct {
	*exec.Cmd
	t     *testing.T
	lines *bufio.Reader
}

func startElect(t *testing.T, cli *clientv3.Client, name, value string) *elected {
	t.Helper()
	e := &elected{Cmd: onEtcd(t, cli, "elect", "--ttl", "5s", name, value, "--", "sh", "-c", "echo $$; exec sleep 600"), t: t}
	out, err := e.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	e.lines = bufio.NewReader(out)
	if err := e.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Process.Kill() }) // it may have ended
	return e
}

// leads waits until the command begins, and returns its process.
func (e *elected) leads() int {
	e.t.Helper()
	line, err := e.lines.ReadString('\n')
	if err != nil {
		e.t.Fatalf("the command does not begin: %v", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGKILL) })
	return pid
}

// ends sends a signal, and returns the exit code.
func (e *elected) ends(s syscall.Signal) int {
	e.t.Helper()
	if err := e.Process.Signal(s); err != nil {
		e.t.Fatal(err)
	}
	if line, err := e.lines.ReadString('\n'); err == nil {
		e.t.Errorf("the command begins once more: %q", line)
	}
	_ = e.Wait() // its exit code says it
	return e.ProcessState.ExitCode()
}

// candidatesOf waits until an election has so many candidates.
func candidatesOf(t *testing.T, cli *clientv3.Client, name string, n int) *election.Queue {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		q, err := election.Candidates(ctx, cli, name, nil)
		if err != nil {
			t.Fatal(err)
		}
		if q.Count == n {
			return q
		}
	}
}

func TestElectRunsItsCommandAgainAfterALostTerm(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	name := prefix + "jobs"
	e := startElect(t, cli, name, "10.0.0.1:80")
	first := e.leads()
	leader := candidatesOf(t, cli, name, 1).Candidates[0]
	if leader.Value != "10.0.0.1:80" {
		t.Errorf("the leader's value is %q", leader.Value)
	}
	if err := election.Revoke(t.Context(), cli, leader); err != nil {
		t.Fatal(err)
	}
	second := e.leads()
	if runs(first) {
		t.Error("the command of the first term runs in the second")
	}
	if token := candidatesOf(t, cli, name, 1).Candidates[0].Token; token <= leader.Token {
		t.Errorf("token %d after %d", token, leader.Token)
	}
	if code := e.ends(syscall.SIGTERM); code != 128+int(syscall.SIGTERM) {
		t.Errorf("exit code %d, want that of the command that SIGTERM ended", code)
	}
	if runs(second) {
		t.Error("the command outlived elect")
	}
	candidatesOf(t, cli, name, 0)
}

func TestElectGoesOnWhenItsProgramWasRemoved(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	name := prefix + "jobs"
	cmd := onEtcd(t, cli, "elect", "--ttl", "5s", name, "--", "sh", "-c", "echo $$; exec sleep 600")
	program := filepath.Join(shortDir(t), "etcdkit")
	if err := os.Link(cmd.Path, program); err != nil {
		t.Skipf("the program cannot be linked: %v", err)
	}
	cmd.Path = program
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	e := &elected{Cmd: cmd, t: t, lines: bufio.NewReader(out)}
	if err := e.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Process.Kill() }) // it may have ended
	e.leads()
	if err := os.Remove(program); err != nil {
		t.Fatal(err)
	}
	if err := election.Revoke(t.Context(), cli, candidatesOf(t, cli, name, 1).Candidates[0]); err != nil {
		t.Fatal(err)
	}
	e.leads()
	if code := e.ends(syscall.SIGTERM); code != 128+int(syscall.SIGTERM) {
		t.Errorf("exit code %d", code)
	}
}

func TestElectWaitsForEtcdAtItsStart(t *testing.T) {
	t.Parallel()
	_, gate, target := gated(t)
	gate.SetTarget("")
	k := keep(t, []string{gate.Addr()}, "elect", "jobs", "--dial-timeout", "500ms", "--", "echo", "leads")
	k.stderr.wait(t, "a candidate as soon as etcd is there")
	gate.SetTarget(target)
	k.wants("leads")
	k.ends(0)
}

func TestLockWaitsForEtcdAtItsStartWithATimeoutOnly(t *testing.T) {
	t.Parallel()
	_, gate, target := gated(t)
	gate.SetTarget("")
	for code, args := range map[int][]string{125: nil, 75: {"--timeout", "1s"}} {
		k := keep(t, []string{gate.Addr()}, append(append([]string{"lock", "--dial-timeout", "200ms"}, args...), "jobs", "--", "echo", "started")...)
		k.ends(code)
	}
	k := keep(t, []string{gate.Addr()}, "lock", "--dial-timeout", "500ms", "--timeout", "10m", "jobs", "--", "echo", "started")
	k.stderr.wait(t, "until the time of --timeout is over")
	gate.SetTarget(target)
	k.wants("started")
	k.ends(0)
}

func TestWrappersSayThatThereIsNoQuorum(t *testing.T) {
	t.Parallel()
	c := etcdtest.NewCluster(t, nil)
	for _, member := range c.Names()[1:] {
		if _, err := c.Pause(t.Context(), member); err != nil {
			t.Fatal(err)
		}
	}
	const cause = "no quorum: 1 of 3 members answer ("
	waiting := keep(t, c.Endpoints(), "elect", "jobs", "--dial-timeout", "1s", "--", "echo", "leads")
	for code, args := range map[int][]string{125: {"--nonblock"}, 75: {"--timeout", "500ms"}} {
		k := keep(t, c.Endpoints(), append(append([]string{"lock"}, args...), "jobs", "--", "echo", "started")...)
		k.stderr.wait(t, cause)
		k.ends(code)
	}
	for _, timeout := range []string{"500ms", "6s"} { // shorter, and longer than a command waits without it
		k := keep(t, c.Endpoints(), "lock", "acquire", "jobs", "--timeout", timeout)
		k.stderr.wait(t, cause)
		k.ends(75)
	}
	waiting.stderr.wait(t, cause)
	waiting.stderr.wait(t, "waiting until etcd answers")
	if _, err := c.Resume(t.Context(), "all"); err != nil {
		t.Fatal(err)
	}
	waiting.wants("leads")
	waiting.ends(0)
}

func TestASignalWithdrawsTheCandidacyOfElect(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	name := prefix + "jobs"
	leader := election.New(cli, name, nil)
	defer leader.Close()
	if _, err := leader.Campaign(t.Context(), "other"); err != nil {
		t.Fatal(err)
	}
	e := startElect(t, cli, name, "me")
	candidatesOf(t, cli, name, 2)
	if code := e.ends(syscall.SIGINT); code != 128+int(syscall.SIGINT) {
		t.Errorf("exit code %d", code)
	}
	candidatesOf(t, cli, name, 1)
}

func TestElectHasTheExitCodeOfItsCommandAndResigns(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	name := prefix + "jobs"
	cmd := onEtcd(t, cli, "elect", name, "--", "sh", "-c", "exit 7")
	if err := cmd.Run(); cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != 7 {
		t.Errorf("%v, want exit code 7", err)
	}
	candidatesOf(t, cli, name, 0)
}

func TestLockEveryCompletesOneRunInAPeriodOfAllProcesses(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	name, log := prefix+"report", filepath.Join(t.TempDir(), "log")
	every := func(script string) *exec.Cmd {
		return onEtcd(t, cli, "lock", "--ttl", "2s", "--every", "1h", name, "--", "sh", "-c", script)
	}
	bad := every("exit 3")
	if err := bad.Run(); bad.ProcessState.ExitCode() != 3 {
		t.Fatalf("a run that fails: %v, want its exit code", err)
	}
	killed := every("echo $$; exec sleep 600")
	out, err := killed.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := killed.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	_ = killed.Process.Kill()
	_ = killed.Wait() // killed, it says
	var working sync.WaitGroup
	for range 4 {
		cmd := every("echo ran >> " + log)
		working.Go(func() {
			if err := cmd.Run(); err != nil {
				t.Errorf("a run, or one that is not due: %v", err)
			}
		})
	}
	working.Wait()
	if runs(pid) {
		t.Error("the command of the killed process runs on")
	}
	if text, err := os.ReadFile(log); err != nil || string(text) != "ran\n" {
		t.Errorf("the runs: %q, %v, want one", text, err)
	}
	m := lock.New(cli, name, nil)
	defer m.Close()
	run, err := m.Every(t.Context(), time.Hour, func(context.Context, *lock.Hold) error { return errors.New("it is due") })
	if err != nil || run.Here || run.DueIn < 59*time.Minute {
		t.Errorf("as the library sees it: %+v, %v", run, err)
	}
}

func TestLockEveryThatIsNotDueSaysSoAndDoesNotWait(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	name := prefix + "report"
	m := lock.New(cli, name, nil)
	defer m.Close()
	if _, err := m.Every(t.Context(), time.Hour, func(context.Context, *lock.Hold) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Acquire(t.Context()); err != nil {
		t.Fatal(err)
	}
	cmd := onEtcd(t, cli, "lock", "--every", "1h", name, "--", "false")
	cmd.Stderr = nil
	stdout, talk, code := output(t, cmd)
	if code != 0 || stdout != "" || !strings.Contains(talk, "not due") || !strings.Contains(talk, "due in 1h0m") {
		t.Errorf("code %d, %q, %q: want a word on stderr", code, stdout, talk)
	}
	due := onEtcd(t, cli, "lock", "--every", "1h", "--timeout", "300ms", name+"2", "--", "true")
	other := lock.New(cli, name+"2", nil)
	defer other.Close()
	if _, err := other.Acquire(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := due.Run(); due.ProcessState.ExitCode() != 75 {
		t.Errorf("a run that is due, while the lock is held: %v, want exit code 75", err)
	}
}

//go:build linux

package main

import (
	"bufio"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/ticker"
	"github.com/etcdkit/etcdkit/etcdtest"
)

// awaitTick waits until a ticker runs.
func awaitTick(t *testing.T, k *ticker.Ticker) {
	t.Helper()
	awaitSo(t, "the command runs", func() bool { return k.Last() > 0 })
}

// awaitSo waits until something is so.
func awaitSo(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.After(40 * time.Second); !is(); {
		select {
		case <-time.After(2 * time.Millisecond):
		case <-deadline:
			t.Fatalf("it never was so: %s", what)
		}
	}
}

// lockRun is an "etcdkit lock" that was started.
type lockRun struct {
	*exec.Cmd
	said *talk
}

// startLock starts an "etcdkit lock" on cli's cluster.
func startLock(t testing.TB, cli *clientv3.Client, args ...string) *lockRun {
	t.Helper()
	r := &lockRun{onCluster(etcdkit(t, shortDir(t), append([]string{"lock"}, args...)...), cli), newTalk()}
	r.Stdout, r.Stderr = r.said, r.said
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		killWithDescendants(t, r.Process)
		_ = r.Wait()
		if t.Failed() {
			t.Logf("%v ended with %v and said: %s", r.Args[1:], r.ProcessState, r.said)
		}
	})
	return r
}

// startTicking starts an "etcdkit lock" whose command ticks, and waits until it does.
func startTicking(t *testing.T, cli *clientv3.Client, flags ...string) (*lockRun, *ticker.Ticker) {
	t.Helper()
	k := ticker.New(t)
	r := startLock(t, cli, append(append(flags, "--"), k.Argv...)...)
	awaitTick(t, k)
	return r, k
}

// code waits for the end.
func (r *lockRun) code(t *testing.T) int {
	t.Helper()
	ended := make(chan struct{})
	go func() { // ends with the process
		_ = r.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(40 * time.Second):
		t.Fatalf("%v still runs: %s", r.Args[1:], r.said)
	}
	return r.ProcessState.ExitCode()
}

// killWithDescendants kills a wrapper, its supervisor and the command, if they run: a supervisor alone would wait for
// the deadline.
func killWithDescendants(t testing.TB, p *os.Process) {
	t.Helper()
	if p.Signal(syscall.Signal(0)) != nil {
		return // it has ended
	}
	all := []int{p.Pid}
	for i := 0; i < len(all); i++ {
		all = append(all, children(t, all[i])...)
	}
	for _, pid := range all[1:] {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	_ = p.Kill()
}

// children are the processes that a process has started.
func children(t testing.TB, parent int) []int {
	t.Helper()
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", parent))
	if err != nil {
		t.Fatal(err)
	}
	var all []int
	for _, list := range lists {
		b, _ := os.ReadFile(list) // a thread may have ended
		for _, field := range strings.Fields(string(b)) {
			if pid, err := strconv.Atoi(field); err == nil {
				all = append(all, pid)
			}
		}
	}
	return all
}

func TestLockRunsACommandWithStdinAndTheVariablesOfTheLock(t *testing.T) {
	t.Parallel()
	cli, name := etcdtest.New(t)
	name += "job"
	script := `read line; echo "$line|$ETCD_LOCK_KEY|$ETCD_LOCK_REV|$ETCDKIT_TOKEN|$ETCDKIT_LEASE|$KEPT"; exit 7`
	cmd := onCluster(etcdkit(t, shortDir(t), "lock", name, "--", "sh", "-c", script), cli)
	cmd.Env = append(cmd.Env, "KEPT=a b", "ETCD_LOCK_KEY=of another lock around it")
	cmd.Stdin = strings.NewReader("hello\n")
	stdout, stderr, code := output(t, cmd)
	f := strings.Split(strings.TrimSpace(stdout), "|")
	if code != 7 || stderr != "" || len(f) != 6 || f[0] != "hello" || f[5] != "a b" {
		t.Fatalf("got %q, %q, exit code %d", stdout, stderr, code)
	}
	if want := name + "/" + f[4] + "-0"; f[1] != want || f[2] != f[3] {
		t.Errorf("the variables are %q, want the key %q, and the revision as the token", f, want)
	}
	if resp, err := cli.Get(t.Context(), name, clientv3.WithPrefix()); err != nil || resp.Count != 0 {
		t.Errorf("%d keys are left, %v", resp.Count, err)
	}
	if _, err := cli.Revoke(t.Context(), leaseOf(t, f[4])); err == nil {
		t.Error("the lease is left")
	}
}

// An uncontended lock costs no more requests than what must be: the probe of client.Dial, the lease, the lock, and both
// given back.
func TestLockMakesFiveRequests(t *testing.T) {
	t.Parallel()
	c := etcdtest.NewCluster(t, &cluster.Options{Members: 1})
	cli := etcdtest.Client(t, c)
	before := requests(t, cli)
	if code := startLock(t, cli, "job", "--", "true").code(t); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	after := requests(t, cli)
	got := make(map[string]int)
	for method, n := range after {
		if n > before[method] {
			got[method] = n - before[method]
		}
	}
	want := map[string]int{"Status": 1, "LeaseGrant": 1, "Txn": 2, "LeaseRevoke": 1}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// requests are those that a cluster of one member has got, by their methods.
func requests(t *testing.T, cli *clientv3.Client) map[string]int {
	t.Helper()
	resp, err := http.Get("http://" + cli.Endpoints()[0] + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	defer http.DefaultClient.CloseIdleConnections()
	counts := make(map[string]int)
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		rest, ok := strings.CutPrefix(lines.Text(), "grpc_server_started_total{")
		if !ok {
			continue
		}
		_, method, _ := strings.Cut(rest, `grpc_method="`)
		method, _, _ = strings.Cut(method, `"`)
		n, err := strconv.ParseFloat(rest[strings.LastIndexByte(rest, ' ')+1:], 64)
		if err != nil {
			t.Fatal(err)
		}
		counts[method] += int(n)
	}
	return counts
}

func leaseOf(t *testing.T, hex string) clientv3.LeaseID {
	t.Helper()
	id, err := strconv.ParseInt(hex, 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	return clientv3.LeaseID(id)
}

func TestALockThatIsTakenIsNotAcquiredAndTheHolderIsSaid(t *testing.T) {
	t.Parallel()
	cli, name := etcdtest.New(t)
	name += "job"
	holder, _ := startTicking(t, cli, name)
	for _, flags := range [][]string{{"--nonblock"}, {"--timeout", "300ms"}} {
		stdout, stderr, code := output(t, onCluster(etcdkit(t, shortDir(t), append(append([]string{"lock"}, flags...), name, "--", "echo", "ran")...), cli))
		if want := fmt.Sprintf("(pid %d on host ", holder.Process.Pid); code != 75 || stdout != "" || !strings.Contains(stderr, want) {
			t.Errorf("%v: got %q, %q, exit code %d, want 75 and %q", flags, stdout, stderr, code, want)
		}
	}
	waiting := startLock(t, cli, name, "--", "true")
	waiting.said.wait(t, fmt.Sprintf("pid %d", holder.Process.Pid))
	if err := waiting.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	waiting.code(t)
}

func TestASemaphoreAndReadersRunSeveralCommandsAtATime(t *testing.T) {
	t.Parallel()
	cli, name := etcdtest.New(t)
	for _, flags := range [][]string{{"--n", "2", name + "n"}, {"--shared", name + "s"}} {
		startTicking(t, cli, flags...)
		startTicking(t, cli, flags...)
	}
	if code := startLock(t, cli, "--n", "2", "--nonblock", name+"n", "--", "true").code(t); code != 75 {
		t.Errorf("the third of a semaphore of two: exit code %d, want 75", code)
	}
	if code := startLock(t, cli, "--nonblock", name+"s", "--", "true").code(t); code != 75 {
		t.Errorf("a writer beside readers: exit code %d, want 75", code)
	}
}

func TestASignalWhileItWaitsLeavesTheQueueAtOnce(t *testing.T) {
	t.Parallel()
	cli, name := etcdtest.New(t)
	name += "job"
	startTicking(t, cli, name)
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1} {
		waiting := startLock(t, cli, name, "--", "echo", "ran")
		entries(t, cli, name, 2)
		if err := waiting.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		if code := waiting.code(t); code != 128+int(sig) || waiting.said.String() != "" {
			t.Errorf("%v: exit code %d, %q, want %d and no word", sig, code, waiting.said, 128+int(sig))
		}
		if resp, err := cli.Get(t.Context(), name+"/", clientv3.WithPrefix(), clientv3.WithCountOnly()); err != nil || resp.Count != 1 {
			t.Errorf("%v: %d entries are in the queue, %v, want the holder's", sig, resp.Count, err)
		}
	}
}

func TestSignalsOfTheWrapperAreTheCommands(t *testing.T) {
	t.Parallel()
	cli, name := etcdtest.New(t)
	all := []syscall.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGWINCH, syscall.SIGALRM, syscall.SIGTERM}
	var script strings.Builder
	for _, s := range all {
		fmt.Fprintf(&script, "trap 'echo got %d' %[1]d; ", int(s))
	}
	script.WriteString("echo ready; until [ -e $0 ]; do sleep 0.02; done; exit 6")
	stop := filepath.Join(t.TempDir(), "stop")
	r := startLock(t, cli, name+"job", "--", "sh", "-c", script.String(), stop)
	r.said.wait(t, "ready")
	for _, s := range all {
		if err := r.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
		r.said.wait(t, fmt.Sprintf("got %d\n", int(s)))
	}
	if err := os.WriteFile(stop, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if code := r.code(t); code != 6 {
		t.Errorf("exit code %d, want the command's, 6: %s", code, r.said)
	}
}

func TestACommandThatASignalEndsHasTheExitCodeOfAShell(t *testing.T) {
	t.Parallel()
	cli, name := etcdtest.New(t)
	r := startLock(t, cli, name+"job", "--", "sh", "-c", "echo ready; exec sleep 300")
	r.said.wait(t, "ready")
	if err := r.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := r.code(t); code != 143 {
		t.Errorf("exit code %d, want 143: %s", code, r.said)
	}
}

func TestWhatTheCommandLeavesInItsGroupEndsBeforeTheRelease(t *testing.T) {
	t.Parallel()
	cli, name := etcdtest.New(t)
	name += "job"
	left, next := ticker.New(t), ticker.New(t)
	script := strings.Join(left.Argv, " ") + " & until [ -s " + left.File + " ]; do sleep 0.01; done; exit 3"
	first := startLock(t, cli, "--kill-grace", "500ms", name, "--", "sh", "-c", script)
	awaitTick(t, left)
	second := startLock(t, cli, append([]string{name, "--"}, next.Argv...)...)
	awaitTick(t, next)
	if code := first.code(t); code != 3 {
		t.Errorf("exit code %d, want 3: %s", code, first.said)
	}
	noOverlap(t, "the background of the first", left, next)
	_ = second.Process.Kill()
}

// noOverlap checks that one command ran last before another one began.
func noOverlap(t *testing.T, what string, before, after *ticker.Ticker) {
	t.Helper()
	_, last := before.Ran()
	if first, _ := after.Ran(); last == 0 || first == 0 || last >= first {
		t.Errorf("%s ran until %v, the next holder from %v on: %v together", what, last, first, last-first)
	}
}

// What may happen to a wrapper and its supervisor. CMD ignores SIGTERM, and the next holder's must begin after it.
func TestTheCommandNeverOutlivesTheLock(t *testing.T) {
	t.Parallel()
	for what, do := range map[string]func(t *testing.T, r *lockRun){
		"the wrapper is killed":  func(t *testing.T, r *lockRun) { _ = r.Process.Signal(syscall.SIGKILL) },
		"the wrapper is stopped": func(t *testing.T, r *lockRun) { _ = r.Process.Signal(syscall.SIGSTOP) },
		"the supervisor is killed": func(t *testing.T, r *lockRun) {
			for _, pid := range children(t, r.Process.Pid) {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
			if code := r.code(t); code != 125 {
				t.Errorf("exit code %d, want 125: %s", code, r.said)
			}
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			cli, name := etcdtest.New(t)
			name += "job"
			r, k := startTicking(t, cli, "--ttl", "5s", name)
			next := ticker.New(t)
			startLock(t, cli, append([]string{name, "--"}, next.Argv...)...)
			entries(t, cli, name, 2)
			do(t, r)
			awaitTick(t, next)
			noOverlap(t, "the command", k, next)
			_ = r.Process.Signal(syscall.SIGCONT)
		})
	}
}

func TestACommandIsAskedToEndWhenItsSupervisorIsKilledWhileTheWrapperIsStopped(t *testing.T) {
	t.Parallel()
	cli, name := etcdtest.New(t)
	r := startLock(t, cli, "--ttl", "60s", name+"job", "--", "sh", "-c", `trap "echo asked; exit 0" TERM; echo ready; while :; do sleep 0.02; done`)
	r.said.wait(t, "ready")
	supervisors := children(t, r.Process.Pid)
	if err := r.Process.Signal(syscall.SIGSTOP); err != nil || len(supervisors) != 1 {
		t.Fatalf("%v, processes %v", err, supervisors)
	}
	if err := syscall.Kill(supervisors[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	r.said.wait(t, "asked")
	if err := r.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if code := r.code(t); code != 125 {
		t.Errorf("exit code %d, want 125: %s", code, r.said)
	}
}

func TestAKeyThatIsDeletedEndsTheCommandAtOnce(t *testing.T) {
	t.Parallel()
	cli, name := etcdtest.New(t)
	name += "job"
	r := startLock(t, cli, "--ttl", "60s", name, "--", "sh", "-c", `trap "echo asked; exit 0" TERM; echo ready; while :; do sleep 0.02; done`)
	r.said.wait(t, "ready")
	if _, err := cli.Delete(t.Context(), name+"/", clientv3.WithPrefix()); err != nil {
		t.Fatal(err)
	}
	if code := r.code(t); code != 76 || !strings.Contains(r.said.String(), "asked") || !strings.Contains(r.said.String(), "its key is gone") {
		t.Errorf("exit code %d, it said %s, want 76, that the command was asked to end, and why", code, r.said)
	}
}

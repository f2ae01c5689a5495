package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/internal/golden"
	"github.com/etcdkit/etcdkit/internal/means"
)

// dev is a running "etcdkit dev".
type dev struct {
	dir    string
	cmd    *exec.Cmd
	stderr *talk
	status cluster.State
}

func startDev(t *testing.T, args ...string) *dev {
	t.Helper()
	d := &dev{dir: shortDir(t)}
	d.start(t, args...)
	return d
}

// start starts it with its files in d.dir.
func (d *dev) start(t *testing.T, args ...string) {
	t.Helper()
	d.stderr = newTalk()
	d.cmd = etcdkit(t, d.dir, append([]string{"dev", "--any-port", "-o", "json"}, args...)...)
	d.cmd.Stderr = d.stderr
	out, err := d.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.cmd.Process.Kill() })
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil {
		t.Fatalf("dev did not become ready: %v\n%s", err, d.stderr)
	}
	if err := json.Unmarshal(line, &d.status); err != nil {
		t.Fatalf("%q is not one line of JSON: %v", line, err)
	}
}

// port is the client port of its first member.
func (d *dev) port() string {
	_, port, _ := net.SplitHostPort(d.status.Members[0].Client)
	return port
}

// does runs a dev subcommand against it.
func (d *dev) does(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	return output(t, etcdkit(t, d.dir, append([]string{"dev"}, args...)...))
}

// stop sends a signal, waits, and checks that nothing is left.
func (d *dev) stop(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := d.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
	if err := d.cmd.Wait(); err != nil {
		t.Errorf("dev after %v: %v\n%s", s, err, d.stderr)
	}
	for _, m := range d.status.Members {
		if syscall.Kill(m.PID, 0) == nil {
			t.Errorf("%s (pid %d) still runs", m.Name, m.PID)
		}
	}
	left, err := os.ReadDir(d.dir)
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestDevTellsMeasuresAndLeavesNothing(t *testing.T) {
	t.Parallel()
	d := startDev(t)
	dirs, err := filepath.Glob(filepath.Join(d.dir, "etcdkit", "*.sock"))
	if err != nil || len(dirs) != 1 {
		t.Fatalf("control sockets: %v, %v", dirs, err)
	}
	if info, err := os.Stat(dirs[0]); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("control socket: %v, %v, want mode 0600", info.Mode(), err)
	}

	var all strings.Builder
	for _, args := range [][]string{
		{"status"}, {"kill", "leader"}, {"kill", "etcd9"}, {"resume", "leader"}, {"move-leader", "leader"}, {"move-leader"},
		{"logs", "web"},
	} {
		stdout, stderr, code := d.does(t, args...)
		fmt.Fprintf(&all, "$ etcdkit dev %s\n%s%s(exit code %d)\n\n", strings.Join(args, " "), stdout, stderr, code)
	}
	golden.Check(t, "dev-session", normal(all.String()), *update)

	stdout, _, code := d.does(t, "status", "-o", "json")
	var s cluster.State
	if err := json.Unmarshal([]byte(stdout), &s); err != nil || code != 0 || s.Quorum.Up != 2 {
		t.Errorf("status -o json: %+v, %v, exit code %d", s, err, code)
	}
	follower, stderr, code := d.does(t, "logs", "follower")
	leader, _, _ := d.does(t, "logs", "leader")
	if code != 0 || !strings.Contains(follower, "became follower") || follower == leader {
		t.Errorf("logs follower: %d bytes %s, exit code %d, want the log of another member than logs leader", len(follower), stderr, code)
	}
	stdout, _, code = d.does(t, "logs", "leader")
	if !strings.Contains(stdout, "became leader") || code != 0 {
		t.Errorf("logs leader: %d bytes, exit code %d, want the election in it", len(stdout), code)
	}
	d.stop(t, syscall.SIGTERM)
	if !strings.Contains(d.stderr.String(), "killed · quorum 2/3 · new leader") {
		t.Errorf("the dev terminal did not tell of the fault: %s", d.stderr)
	}
}

func TestDevWritesItsReadyFileAndRemovesItAtItsEnd(t *testing.T) {
	t.Parallel()
	for _, end := range []syscall.Signal{syscall.SIGINT, syscall.SIGHUP} {
		if signal.Ignored(end) { // under nohup, which dev respects
			continue
		}
		file := filepath.Join(t.TempDir(), "ready")
		d := startDev(t, "--members", "1", "--ready-file", file)
		b, err := os.ReadFile(file)
		var s cluster.State
		if err != nil || json.Unmarshal(b, &s) != nil || s.Endpoints[0] != d.status.Endpoints[0] {
			t.Errorf("ready file: %s, %v, want the status", b, err)
		}
		d.stop(t, end)
		if _, err := os.Stat(file); !os.IsNotExist(err) {
			t.Errorf("ready file after %v: %v, want it gone", end, err)
		}
	}
}

func TestSeveralDevClustersAreToldApart(t *testing.T) {
	t.Parallel()
	a := startDev(t, "--members", "1", "--gateway")
	if resp, err := http.Post("http://"+a.status.Members[0].Client+"/v3/maintenance/status", "application/json", strings.NewReader("{}")); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("etcd's JSON API with --gateway: %v, %v", resp, err)
	} else {
		resp.Body.Close()
	}
	b := etcdkit(t, a.dir, "dev", "--any-port", "--members", "1", "-o", "json")
	out, err := b.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = b.Process.Signal(syscall.SIGTERM)
		_ = b.Wait()
	}()
	if _, err := bufio.NewReader(out).ReadBytes('\n'); err != nil {
		t.Fatal(err)
	}
	if _, stderr, code := a.does(t, "status"); code != 2 || !strings.Contains(stderr, "choose one with --cluster PORT") {
		t.Errorf("status with two clusters: %q, exit code %d", stderr, code)
	}
	_, port, _ := net.SplitHostPort(a.status.Members[0].Client)
	if stdout, _, code := a.does(t, "status", "--cluster", port); code != 0 || !strings.Contains(stdout, port) {
		t.Errorf("status --cluster %s: %q, exit code %d", port, stdout, code)
	}
	pointed := etcdkit(t, a.dir, "dev", "status")
	pointed.Env = append(pointed.Env, "ETCDCTL_ENDPOINTS="+a.status.Endpoints[0])
	if stdout, _, code := output(t, pointed); code != 0 || !strings.Contains(stdout, port) {
		t.Errorf("status with ETCDCTL_ENDPOINTS: %q, exit code %d", stdout, code)
	}
}

func TestDevRunHasItsCommandsOutputAndExitCode(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		args   []string
		stdout string
		code   int
	}{
		{[]string{"sh", "-c", `case "$ETCDCTL_ENDPOINTS" in 127.0.0.1:*) [ "$ETCDCTL_ENDPOINTS" = "$ETCDKIT_ENDPOINTS" ] && echo told;; esac; exit 7`}, "told\n", 7},
		{[]string{"true"}, "", 0},
		{[]string{"sh", "-c", "kill -9 $$"}, "", 137},
		{[]string{"no-such-command"}, "", 127},
	} {
		dir := shortDir(t)
		args := append([]string{"dev", "run", "--any-port", "--members", "1", "--"}, tc.args...)
		stdout, stderr, code := output(t, etcdkit(t, dir, args...))
		if stdout != tc.stdout || code != tc.code {
			t.Errorf("%v: stdout %q, exit code %d, want %q, %d; stderr %q", tc.args, stdout, code, tc.stdout, tc.code, stderr)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
			t.Errorf("%v: left behind %v, %v", tc.args, left, err)
		}
	}
}

func TestDevRunPassesSIGTERMOnAndWaits(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	cmd := etcdkit(t, dir, "dev", "run", "--any-port", "--members", "1", "--", "sh", "-c", `trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.05; done`)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() || lines.Text() != "up" {
		t.Fatalf("got %q, want up", lines.Text())
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if !lines.Scan() || lines.Text() != "bye" {
		t.Errorf("got %q, want the command's own end", lines.Text())
	}
	_ = cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); got != 3 {
		t.Errorf("exit code %d, want the command's 3", got)
	}
}

func TestDevNamesTheProcessThatHoldsATakenPort(t *testing.T) {
	means.DefaultPort(t)
	ln, err := net.Listen("tcp", "127.0.0.1:2379")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	dir := shortDir(t)
	stdout, stderr, code := output(t, etcdkit(t, dir, "dev"))
	want := fmt.Sprintf("127.0.0.1:2379 is held by pid %d (etcdkit.test) (stop it); --any-port takes free ports", os.Getpid())
	if code != 1 || stdout != "" || !strings.Contains(stderr, want) {
		t.Errorf("got %q, exit code %d, want %q", stdout+stderr, code, want)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left behind %v, %v", left, err)
	}
}

func TestASecondSignalEndsDevAtOnceAndItsMembersToo(t *testing.T) {
	t.Parallel()
	d := startDev(t, "--data-dir", filepath.Join(shortDir(t), "data"))
	// Frozen from outside, a member keeps the first signal's graceful stop waiting for 10 s.
	if err := syscall.Kill(d.status.Members[1].PID, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"stopping", ""} {
		if err := d.cmd.Process.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		d.stderr.wait(t, want)
	}
	_ = d.cmd.Wait()
	if got := d.cmd.ProcessState.ExitCode(); got != exitInterrupted {
		t.Errorf("exit code %d, want %d: the second signal, not the graceful stop", got, exitInterrupted)
	}
	deadline := time.After(20 * time.Second)
	for _, m := range d.status.Members {
		for syscall.Kill(m.PID, 0) == nil {
			select {
			case <-time.After(10 * time.Millisecond):
			case <-deadline:
				t.Fatalf("%s (pid %d) still runs", m.Name, m.PID)
			}
		}
	}
}

package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/internal/devdir"
	"github.com/etcdkit/etcdkit/internal/means"
	"github.com/etcdkit/etcdkit/internal/wholefile"
)

// controlled serves the control socket of a small cluster and returns its path.
func controlled(t *testing.T) (socket string, c *cluster.Cluster) {
	t.Helper()
	dir := shortDir(t)
	t.Setenv("XDG_RUNTIME_DIR", dir)
	c = etcdtest.NewCluster(t, &cluster.Options{Members: 1})
	stop, err := serveControl(c, func(*cluster.Change) {})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return filepath.Join(devdir.Path(), firstPort(c.State().Members[0].Client)+devdir.SocketExt), c
}

// endless is a body that never ends, and counts what was read of it.
type endless struct {
	read   atomic.Int64
	once   sync.Once
	closed chan struct{} // once the HTTP library has done with it
}

func (e *endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = 'a'
	}
	e.read.Add(int64(len(b)))
	return len(b), nil
}

func (e *endless) Close() error {
	e.once.Do(func() { close(e.closed) })
	return nil
}

func TestTheControlSocketReadsNoMoreThanARequestNeeds(t *testing.T) {
	socket, _ := controlled(t)
	sent := &endless{closed: make(chan struct{})}
	body := struct {
		io.Reader
		io.Closer
	}{io.MultiReader(strings.NewReader(`{"verb":"`), io.LimitReader(sent, 300<<20)), sent}
	var got reply
	err := control{socket}.call(t.Context(), http.MethodPost, "/fault", body, &got)
	if err == nil && !strings.Contains(got.Error, "too large") {
		t.Errorf("got %+v, want that the request is too large", got)
	}
	<-sent.closed                          // an answer may come while the request is still being sent
	if n := sent.read.Load(); n > 16<<20 { // what the kernel and the HTTP library hold is far less
		t.Errorf("%d bytes were taken of a request that may have %d", n, mostRequest)
	}
}

func TestTheControlSocketHangsUpOnWhoIsIdle(t *testing.T) {
	socket, _ := controlled(t)
	for what, say := range map[string]string{
		"after an answer":           "GET /status HTTP/1.1\r\nHost: etcdkit\r\n\r\n",
		"in the middle of its body": "POST /fault HTTP/1.1\r\nHost: etcdkit\r\nContent-Length: 100\r\n\r\n{",
	} {
		c, err := net.Dial("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, say); err != nil {
			t.Fatal(err)
		}
		_ = c.SetReadDeadline(time.Now().Add(6 * statusTimeout))
		if _, err := io.Copy(io.Discard, c); err != nil {
			t.Errorf("%s: %v, want an end of the connection", what, err)
		}
	}
}

func TestAReadyFileLeadsNowhereElse(t *testing.T) {
	dir := t.TempDir()
	victim := filepath.Join(dir, "victim")
	if err := os.WriteFile(victim, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "ready")
	for _, link := range []string{file, file + ".new"} {
		if err := os.Symlink(victim, link); err != nil {
			t.Fatal(err)
		}
	}
	if err := wholefile.Write(file, []byte("ready\n")); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(victim); err != nil || string(b) != "precious" {
		t.Errorf("the link's target is now %q, %v", b, err)
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "ready\n" {
		t.Errorf("the file has %q, %v", b, err)
	}
	left, err := filepath.Glob(filepath.Join(dir, ".etcdkit-*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind %v, %v", left, err)
	}
}

func TestARuntimeDirectoryMayBeLongAndHaveAnyName(t *testing.T) {
	for name, sub := range map[string]string{"odd": "[a*?]", "long": strings.Repeat("long", 30)} {
		t.Run(name, func(t *testing.T) {
			d := &dev{dir: filepath.Join(shortDir(t), sub)}
			if err := os.Mkdir(d.dir, 0o700); err != nil {
				t.Fatal(err)
			}
			d.start(t, "--members", "1")
			port := firstPort(d.status.Members[0].Client)
			if stdout, stderr, code := d.does(t, "status", "--cluster", port); code != 0 || !strings.Contains(stdout, port) {
				t.Errorf("status: %q, exit code %d", stdout+stderr, code)
			}
			d.stop(t, syscall.SIGTERM)
		})
	}
}

func TestADevClusterThatIsStoppedIsFoundAndSaid(t *testing.T) {
	d := startDev(t, "--members", "1")
	if err := d.cmd.Process.Signal(syscall.SIGSTOP); err != nil { // as Ctrl-Z does
		t.Fatal(err)
	}
	pid := d.cmd.Process.Pid
	port := firstPort(d.status.Members[0].Client)
	want := fmt.Sprintf("etcdkit: the dev cluster on port %s is stopped (pid %d, by Ctrl-Z?); let it go on: fg in its terminal, or kill -CONT %d\n", port, pid, pid)
	for _, args := range [][]string{{"status"}, {"kill", "leader"}, {"status", "--cluster", port}} {
		if stdout, stderr, code := d.does(t, args...); code != 1 || stdout != "" || stderr != want {
			t.Errorf("%v: got %q, exit code %d, want %q", args, stdout+stderr, code, want)
		}
	}
	if err := d.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if stdout, stderr, code := d.does(t, "status"); code != 0 {
		t.Errorf("when it goes on: %q, exit code %d", stdout+stderr, code)
	}
	d.stop(t, syscall.SIGTERM)
}

// ctl runs etcdctl as a terminal of the dev cluster's user does that has exported nothing.
func (d *dev) ctl(t *testing.T, env []string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := etcdkit(t, d.dir, append([]string{"ctl"}, args...)...)
	cmd.Env = append(cmd.Env, env...)
	return output(t, cmd)
}

func TestEtcdctlFindsTheDevClusterThatRuns(t *testing.T) {
	if c, err := net.Dial("tcp", "127.0.0.1:2379"); err == nil {
		c.Close()
		means.Missing(t, "another etcd serves at localhost:2379, which goes first")
	}
	d := startDev(t)
	first := d.status.Members[0]
	file := filepath.Join(d.dir, "etcdkit", firstPort(first.Client)+devdir.EndpointsExt)
	b, err := os.ReadFile(file)
	if want := strings.Join(d.status.Endpoints, ",") + "\n"; err != nil || string(b) != want {
		t.Errorf("%s has %q, %v, want %q", file, b, err, want)
	}
	if info, err := os.Lstat(file); err != nil || info.Mode() != 0o600 {
		t.Errorf("%s: mode %v, %v, want 0600", file, info.Mode(), err)
	}
	if stdout, stderr, code := d.ctl(t, nil, "put", "k", "v"); code != 0 {
		t.Fatalf("put: %q, exit code %d", stdout+stderr, code)
	}
	if stdout, stderr, code := d.does(t, "kill", first.Name); code != 0 {
		t.Fatalf("kill: %q, exit code %d", stdout+stderr, code)
	}
	if stdout, stderr, code := d.ctl(t, nil, "get", "k", "--print-value-only"); code != 0 || stdout != "v\n" {
		t.Errorf("get after the first member was killed: %q, exit code %d, want v", stdout+stderr, code)
	}
	// Whoever says which cluster is meant gets that one.
	other, _ := etcdtest.New(t)
	for what, env := range map[string]string{"ETCDCTL_ENDPOINTS": "http://" + other.Endpoints()[0], "ETCDKIT_ENDPOINTS": other.Endpoints()[0]} {
		if stdout, stderr, code := d.ctl(t, []string{what + "=" + env}, "get", "k", "--print-value-only"); code != 0 || stdout != "" {
			t.Errorf("with %s of another cluster: %q, exit code %d, want no key", what, stdout+stderr, code)
		}
	}
	d.stop(t, syscall.SIGTERM)
}

func TestAKilledDevClusterIsNotFoundAndItsRemainsAreRemoved(t *testing.T) {
	d := startDev(t, "--members", "1")
	if err := d.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = d.cmd.Wait()
	if stdout, stderr, code := d.does(t, "status"); code != 1 || !strings.Contains(stderr, "no dev cluster is running") {
		t.Errorf("status: %q, exit code %d", stdout+stderr, code)
	}
	if left, err := os.ReadDir(filepath.Join(d.dir, "etcdkit")); err != nil || len(left) != 0 {
		t.Errorf("left behind %v, %v", left, err)
	}
}

func TestEtcdctlIsToldOfNoVariableThatAFlagStandsBefore(t *testing.T) {
	cli, _ := etcdtest.New(t)
	at := cli.Endpoints()[0]
	dir := shortDir(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "etcdctl")
	if err := os.Symlink(exe, link); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"--endpoints=" + at, "endpoint", "health"},
		{"endpoint", "health", "--endpoints", at},
		{"--endpoints=" + at, "--write-out=simple", "endpoint", "health"},
		{"--endpoints=" + at, "-w", "simple", "endpoint", "health"},
		{"--endpoints=" + at, "-wsimple", "endpoint", "health"},
		{"--endpoints=" + at, "--dial-timeout=2s", "--command-timeout", "5s", "endpoint", "health"},
	} {
		called := exec.Command(link, args...)
		called.Env = append(os.Environ(), mainEnv+"=1")
		for _, cmd := range []*exec.Cmd{etcdkit(t, dir, append([]string{"ctl"}, args...)...), called} {
			cmd.Env = append(cmd.Env, "ETCDCTL_ENDPOINTS=127.0.0.1:1", "ETCDCTL_DIAL_TIMEOUT=1ns", "ETCDCTL_COMMAND_TIMEOUT=1m")
			if strings.Contains(strings.Join(args, " "), "-w") {
				cmd.Env = append(cmd.Env, "ETCDCTL_WRITE_OUT=json")
			}
			if !strings.Contains(strings.Join(args, " "), "--dial-timeout") {
				cmd.Env = append(cmd.Env, "ETCDCTL_DIAL_TIMEOUT=5s")
			}
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.Contains(string(out), at+" is healthy") {
				t.Errorf("%v: %v, %s", cmd.Args, err, out)
			}
		}
	}
}

func TestAFlagStandsBeforeItsOwnVariableOnly(t *testing.T) {
	for _, tc := range []struct{ args, want string }{
		{"get k", ""},
		{"--endpoints=a:1 get k", "ETCDCTL_ENDPOINTS"},
		{"--endpoints a:1 --insecure-skip-tls-verify get k", "ETCDCTL_ENDPOINTS ETCDCTL_INSECURE_SKIP_TLS_VERIFY"},
		{"--user=amy:one get k", "ETCDCTL_USER ETCDCTL_PASSWORD"},
		{"--user amy:one get k", "ETCDCTL_USER ETCDCTL_PASSWORD"},
		{"--user amy get k", "ETCDCTL_USER"},
		{"--user amy:x --password one get k", "ETCDCTL_USER ETCDCTL_PASSWORD"},
		{"lock name -- cmd --endpoints=a:1", ""},
		{"-d example.org get k", "ETCDCTL_DISCOVERY_SRV"},
	} {
		if got := strings.Join(shadowed(strings.Fields(tc.args)), " "); got != tc.want {
			t.Errorf("%s: got %q, want %q", tc.args, got, tc.want)
		}
	}
}

func TestSeveralDevClustersAreNamedToWhoeverCallsEtcdctl(t *testing.T) {
	if c, err := net.Dial("tcp", "127.0.0.1:2379"); err == nil {
		c.Close()
		means.Missing(t, "another etcd serves at localhost:2379, which goes first")
	}
	a := startDev(t, "--members", "1")
	b := &dev{dir: a.dir}
	b.start(t, "--members", "1")
	_, stderr, code := a.ctl(t, nil, "get", "k")
	for _, d := range []*dev{a, b} {
		if !strings.Contains(stderr, "export ETCDCTL_ENDPOINTS="+d.status.Endpoints[0]) || code != 1 {
			t.Errorf("got %q, exit code %d, want both named", stderr, code)
		}
	}
	if err := b.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_ = b.cmd.Wait()
	a.stop(t, syscall.SIGTERM)
}

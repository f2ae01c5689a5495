package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/internal/means"
)

func TestARuntimeDirectoryMayBeLongAndHaveAnyName(t *testing.T) {
	t.Parallel()
	for name, sub := range map[string]string{"odd": "[a*?]", "long": strings.Repeat("long", 30)} {
		t.Run(name, func(t *testing.T) {
			d := &dev{dir: filepath.Join(shortDir(t), sub)}
			if err := os.Mkdir(d.dir, 0o700); err != nil {
				t.Fatal(err)
			}
			d.start(t, "--members", "1")
			port := d.port()
			if stdout, stderr, code := d.does(t, "status", "--cluster", port); code != 0 || !strings.Contains(stdout, port) {
				t.Errorf("status: %q, exit code %d", stdout+stderr, code)
			}
			d.stop(t, syscall.SIGTERM)
		})
	}
}

func TestADevClusterThatIsStoppedIsFoundAndSaid(t *testing.T) {
	t.Parallel()
	d := startDev(t, "--members", "1")
	if err := d.cmd.Process.Signal(syscall.SIGSTOP); err != nil { // as Ctrl-Z does
		t.Fatal(err)
	}
	pid := d.cmd.Process.Pid
	port := d.port()
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
	means.DefaultPort(t) // an etcd there would go first
	d := startDev(t)
	first := d.status.Members[0]
	file := filepath.Join(d.dir, "etcdkit", d.port()+".endpoints")
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
	// A variable that names a cluster goes first.
	other, _ := etcdtest.New(t)
	for what, env := range map[string]string{"ETCDCTL_ENDPOINTS": "http://" + other.Endpoints()[0], "ETCDKIT_ENDPOINTS": other.Endpoints()[0]} {
		if stdout, stderr, code := d.ctl(t, []string{what + "=" + env}, "get", "k", "--print-value-only"); code != 0 || stdout != "" {
			t.Errorf("with %s of another cluster: %q, exit code %d, want no key", what, stdout+stderr, code)
		}
	}
	d.stop(t, syscall.SIGTERM)
}

func TestAKilledDevClusterIsNotFoundAndItsRemainsAreRemoved(t *testing.T) {
	t.Parallel()
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
	t.Parallel()
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

func TestAFlagsValueIsNotTheCommandOfEtcdctl(t *testing.T) {
	for args, want := range map[string]bool{
		"-w json version": false, "-wjson version": false, "--write-out=json version": false, "--hex version": false, "--endpoints a:1 help get": false,
		"-w json get k": true, "--debug get k": true, "--user version get k": true, "-w json": false, "": false,
	} {
		if got := needsCluster(strings.Fields(args)); got != want {
			t.Errorf("%q: needs a cluster: %v, want %v", args, got, want)
		}
	}
}

func TestEtcdctlNamesTheDevClustersIfThereAreSeveral(t *testing.T) {
	means.DefaultPort(t) // an etcd there would go first
	a := startDev(t, "--members", "1")
	b := &dev{dir: a.dir}
	b.start(t, "--members", "1")
	_, stderr, code := a.ctl(t, nil, "get", "k")
	for _, d := range []*dev{a, b} {
		if !strings.Contains(stderr, "export ETCDCTL_ENDPOINTS="+d.status.Endpoints[0]) || code != 1 {
			t.Errorf("got %q, exit code %d, want both named", stderr, code)
		}
	}
	for _, args := range [][]string{nil, {"--help"}, {"get", "-h"}, {"help", "get"}, {"version"}, {"completion", "bash"}} {
		if stdout, stderr, code := a.ctl(t, nil, args...); code != 0 || stdout == "" {
			t.Errorf("%v, which needs no cluster: %q, exit code %d", args, stdout+stderr, code)
		}
	}
	if err := b.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_ = b.cmd.Wait()
	a.stop(t, syscall.SIGTERM)
}

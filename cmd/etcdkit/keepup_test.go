package main

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/etcdtest"
)

// generous is a bound for what should take far less, on a busy machine.
const generous = time.Minute

// kept is the program with a command that it keeps up to date, on a test's etcd.
type kept struct {
	t      *testing.T
	cmd    *exec.Cmd
	lines  chan string // of stdout
	stderr *talk
}

// keep starts the program at endpoints.
func keep(t *testing.T, endpoints []string, args ...string) *kept {
	t.Helper()
	return keepWith(t, nil, endpoints, args...)
}

// keepWith is keep with something on stdin.
func keepWith(t *testing.T, stdin io.Reader, endpoints []string, args ...string) *kept {
	t.Helper()
	dir := shortDir(t)
	k := &kept{t: t, cmd: etcdkit(t, dir, args...), lines: make(chan string, 1000), stderr: newTalk()}
	k.cmd.Env = append(k.cmd.Env, "ETCDKIT_ENDPOINTS="+strings.Join(endpoints, ","), "XDG_CONFIG_HOME="+dir)
	k.cmd.Stdin, k.cmd.Stderr = stdin, k.stderr
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	k.cmd.Stdout = write
	if err := k.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	write.Close()
	ended := make(chan struct{})
	go func() { // ends with the program and its command
		defer close(ended)
		defer close(k.lines)
		for lines := bufio.NewScanner(read); lines.Scan(); {
			k.lines <- lines.Text()
		}
	}()
	t.Cleanup(func() {
		if k.cmd.ProcessState == nil {
			_ = k.cmd.Process.Kill()
			_ = k.cmd.Wait()
		}
		read.Close()
		<-ended
	})
	return k
}

// line waits for the next line of the command.
func (k *kept) line() string {
	k.t.Helper()
	select {
	case line, ok := <-k.lines:
		if !ok {
			k.t.Fatalf("the output has ended; stderr: %s", k.stderr)
		}
		return line
	case <-time.After(generous):
		k.t.Fatalf("no line; stderr: %s", k.stderr)
		return ""
	}
}

// wants waits for lines.
func (k *kept) wants(want ...string) {
	k.t.Helper()
	for _, w := range want {
		if got := k.line(); got != w {
			k.t.Fatalf("got line %q, want %q; stderr: %s", got, w, k.stderr)
		}
	}
}

func (k *kept) signal(s syscall.Signal) {
	k.t.Helper()
	if err := k.cmd.Process.Signal(s); err != nil {
		k.t.Fatal(err)
	}
}

// ends waits for the end of the program, after which its command has said no more than was read.
func (k *kept) ends(code int) {
	k.t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- k.cmd.Wait() }() // ends with the program
	select {
	case <-ended:
	case <-time.After(generous):
		_ = k.cmd.Process.Kill()
		<-ended
		k.t.Fatalf("it has not ended; stderr: %s", k.stderr)
	}
	if got := k.cmd.ProcessState.ExitCode(); got != code {
		k.t.Errorf("exit code %d, want %d; stderr: %s", got, code, k.stderr)
	}
	for line := range k.lines {
		k.t.Errorf("one more line: %q", line)
	}
}

// putKey writes a key and returns the revision.
func putKey(t *testing.T, cli *clientv3.Client, key, value string) int64 {
	t.Helper()
	resp, err := cli.Put(t.Context(), key, value)
	if err != nil {
		t.Fatal(err)
	}
	return resp.Header.Revision
}

// gated is a cluster and the address of a gate before it.
func gated(t *testing.T) (direct *clientv3.Client, gate *etcdtest.Gate, target string) {
	t.Helper()
	direct = etcdtest.Client(t, etcdtest.NewCluster(t, &cluster.Options{Members: 1, InProcess: true}))
	target = strings.TrimPrefix(direct.Endpoints()[0], "http://")
	return direct, etcdtest.NewGate(t, target), target
}

package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/cmd/etcdkit/internal/cli"
	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/internal/means"
	"github.com/etcdkit/etcdkit/registry"
)

// wrapped is a svc register that runs a command, and the instance in etcd.
type wrapped struct {
	*exec.Cmd
	t      *testing.T
	cli    *clientv3.Client
	prefix string
	lines  *bufio.Reader // of the command
	talk   string        // the file that is stderr: a pipe would be waited for as long as the command has it
	events clientv3.WatchChan
	gone   time.Time // when the key was seen to go
}

// svcRegister starts svc register for web/a at 127.0.0.1:9; args are its further flags and the command.
func svcRegister(t *testing.T, cli *clientv3.Client, prefix string, endpoints []string, args ...string) *wrapped {
	t.Helper()
	all := append([]string{"svc", "register", "web", "--id", "a", "--addr", "127.0.0.1:9", "--prefix", prefix}, args...)
	w := &wrapped{Cmd: etcdkit(t, shortDir(t), all...), t: t, cli: cli, prefix: prefix}
	w.Env = append(w.Env, "ETCDKIT_ENDPOINTS="+strings.Join(endpoints, ","))
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	w.talk = filepath.Join(t.TempDir(), "stderr")
	talk, err := os.Create(w.talk)
	if err != nil {
		t.Fatal(err)
	}
	defer talk.Close()
	w.lines, w.Stdout, w.Stderr = bufio.NewReader(read), write, talk
	w.events = cli.Watch(t.Context(), prefix+"web/a")
	err = w.Start()
	write.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = w.Process.Kill()
		read.Close()
		if text, err := os.ReadFile(w.talk); t.Failed() {
			t.Logf("stderr: %s (%v)", text, err)
		}
	})
	return w
}

// said is the next line of the command.
func (w *wrapped) said() string {
	w.t.Helper()
	line, err := w.lines.ReadString('\n')
	if err != nil {
		w.t.Fatal(err)
	}
	return strings.TrimSpace(line)
}

func (w *wrapped) saidPID() int {
	w.t.Helper()
	pid, err := strconv.Atoi(w.said())
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGKILL) })
	return pid
}

// next returns when the instance has a status; "" waits until it is gone.
func (w *wrapped) next(want registry.Status) registry.Instance {
	w.t.Helper()
	late := time.After(time.Minute)
	for {
		select {
		case resp := <-w.events:
			for _, ev := range resp.Events {
				if ev.Type == clientv3.EventTypeDelete {
					w.gone = time.Now()
					if want == "" {
						return registry.Instance{}
					}
					continue
				}
				i, err := registry.Decode(w.prefix, string(ev.Kv.Key), string(ev.Kv.Value))
				if err != nil {
					w.t.Fatal(err)
				}
				if i.Status == want {
					return i
				}
			}
		case <-late:
			w.t.Fatalf("the instance was not %q within a minute", want)
		}
	}
}

func (w *wrapped) signal(s syscall.Signal) {
	w.t.Helper()
	if err := w.Process.Signal(s); err != nil {
		w.t.Fatal(err)
	}
}

// within fails if the instance went much later than something else happened, and returns how much later it was.
func (w *wrapped) within(began time.Time, what string) (took time.Duration) {
	w.t.Helper()
	took = w.gone.Sub(began)
	w.t.Logf("%s to gone: %v", what, took)
	if took > 5*time.Second { // a busy machine; the TTL is longer
		w.t.Errorf("%s to gone: %v, want no wait for the lease", what, took)
	}
	return took
}

func TestAnInstanceGoesWithItsCommand(t *testing.T) {
	t.Parallel()
	client, prefix := etcdtest.New(t)
	for name, c := range map[string]struct {
		script string
		end    func(pid int) error
		code   int
	}{
		"it exits":                     {`trap 'exit 3' USR1; echo $$; while :; do sleep 0.01; done`, func(pid int) error { return syscall.Kill(pid, syscall.SIGUSR1) }, 3},
		"it is killed":                 {`echo $$; exec sleep 600`, func(pid int) error { return syscall.Kill(pid, syscall.SIGKILL) }, 128 + 9},
		"it is killed with a child":    {`sleep 600 & echo $$; wait`, func(pid int) error { return syscall.Kill(pid, syscall.SIGKILL) }, 128 + 9},
		"a child ignores what ends it": {`sh -c 'trap "" TERM; sleep 600' & echo $$; wait`, func(pid int) error { return syscall.Kill(pid, syscall.SIGKILL) }, 128 + 9},
	} {
		t.Run(name, func(t *testing.T) {
			fastest := time.Minute
			for range 2 { // one of them can be late on a busy machine
				w := svcRegister(t, client, prefix, client.Endpoints(), "--ttl", "60s", "--tag", "blue", "--meta", "k=v", "--", "sh", "-c", c.script)
				i := w.next(registry.Passing)
				if i.Addr != "127.0.0.1:9" || i.Tags[0] != "blue" || i.Metadata["k"] != "v" {
					t.Errorf("registered %+v", i)
				}
				pid := w.saidPID()
				began := time.Now()
				if err := c.end(pid); err != nil {
					t.Fatal(err)
				}
				w.next("")
				fastest = min(fastest, w.within(began, "the command's end"))
				if code := ends(t, w.Cmd, time.Minute); code != c.code {
					t.Errorf("exit code %d, want the command's own, %d", code, c.code)
				}
			}
			if fastest > 100*time.Millisecond && !means.Race {
				t.Errorf("the command's end to gone: %v, want 100ms at most", fastest)
			}
		})
	}
}

func TestTermSaysDrainingFirst(t *testing.T) {
	t.Parallel()
	client, prefix := etcdtest.New(t)
	w := svcRegister(t, client, prefix, client.Endpoints(), "--ttl", "60s", "--drain", "300ms", "--",
		"sh", "-c", `trap 'echo term; read x <&3; exit 7' TERM; echo $ETCDKIT_SERVICE $ETCDKIT_ID $ETCDKIT_ADDR; while :; do sleep 0.05; done 3</dev/null`)
	if got := w.said(); got != "web a 127.0.0.1:9" {
		t.Errorf("the command's environment: %q", got)
	}
	w.next(registry.Passing)
	w.signal(syscall.SIGTERM)
	w.next(registry.Draining)
	if got := w.said(); got != "term" {
		t.Errorf("the command said %q, want that it got SIGTERM", got)
	}
	w.next("")
	if code := ends(t, w.Cmd, time.Minute); code != 7 {
		t.Errorf("exit code %d, want 7", code)
	}
	text, err := os.ReadFile(w.talk)
	if err != nil {
		t.Fatal(err)
	}
	if _, after, ok := strings.Cut(string(text), "etcdkit: web/a is draining; the command gets the signal in 300ms\n"); !ok || !strings.HasSuffix(after, "etcdkit: web/a is no longer registered\n") {
		t.Errorf("got %q, want that it is draining, and then that it is gone", text)
	}
}

func TestASecondTermKillsTheCommand(t *testing.T) {
	t.Parallel()
	client, prefix := etcdtest.New(t)
	w := svcRegister(t, client, prefix, client.Endpoints(), "--ttl", "60s", "--drain", "1h", "--", "sh", "-c", `trap "" TERM; echo $$; while :; do sleep 0.05; done`)
	w.saidPID()
	w.next(registry.Passing)
	w.signal(syscall.SIGTERM)
	w.next(registry.Draining)
	w.signal(syscall.SIGTERM)
	w.next("")
	if code := ends(t, w.Cmd, time.Minute); code != 128+9 {
		t.Errorf("exit code %d, want 137", code)
	}
}

func TestTheCommandOutlivesAWrapperThatIsKilled(t *testing.T) {
	t.Parallel()
	client, prefix := etcdtest.New(t)
	w := svcRegister(t, client, prefix, client.Endpoints(), "--ttl", "2s", "--", "sh", "-c", `echo $$; exec sleep 600`)
	pid := w.saidPID()
	w.next(registry.Passing)
	w.signal(syscall.SIGKILL)
	ends(t, w.Cmd, time.Minute)
	w.next("")
	if !runs(pid) {
		t.Error("the command has ended, want that it goes on")
	}
}

func TestTheCommandGoesOnWhileEtcdIsAway(t *testing.T) {
	t.Parallel()
	client, prefix := etcdtest.New(t)
	gate := etcdtest.NewGate(t, strings.TrimPrefix(client.Endpoints()[0], "http://"))
	w := svcRegister(t, client, prefix, []string{gate.Addr()}, "--ttl", "2s", "--", "sh", "-c", `echo $$; exec sleep 600`)
	pid := w.saidPID()
	w.next(registry.Passing)
	gate.Freeze()
	w.next("") // its lease has ended
	if !runs(pid) {
		t.Error("the command has ended, want that it goes on")
	}
	gate.Unfreeze()
	w.next(registry.Passing)
	if !runs(pid) {
		t.Error("the command has ended, want that it goes on")
	}
	w.signal(syscall.SIGINT)
	w.next("")
	if code := ends(t, w.Cmd, time.Minute); code != 128+2 {
		t.Errorf("exit code %d, want 130, as SIGINT ended the command", code)
	}
}

func TestTheCommandStartsBeforeEtcdIsThere(t *testing.T) {
	t.Parallel()
	client, prefix := etcdtest.New(t)
	gate := etcdtest.NewGate(t, strings.TrimPrefix(client.Endpoints()[0], "http://"))
	gate.Freeze()
	w := svcRegister(t, client, prefix, []string{gate.Addr()}, "--dial-timeout", "500ms", "--", "sh", "-c", `echo $$; exec sleep 600`)
	w.saidPID()
	gate.Unfreeze()
	w.next(registry.Passing)
	w.signal(syscall.SIGTERM)
	w.next("")
	if code := ends(t, w.Cmd, time.Minute); code != 128+15 {
		t.Errorf("exit code %d, want 143", code)
	}
}

func TestAnIDThatALiveProcessHasEndsTheCommand(t *testing.T) {
	t.Parallel()
	client, prefix := etcdtest.New(t)
	reg, err := registry.Register(t.Context(), client, registry.Instance{Service: "web", ID: "a", Addr: "127.0.0.1:8"}, &registry.Options{Prefix: prefix, TTL: 3 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer reg.Close()
	w := svcRegister(t, client, prefix, client.Endpoints(), "--", "sh", "-c", `echo $$; exec sleep 600`)
	pid := w.saidPID()
	if code := ends(t, w.Cmd, time.Minute); code != cli.ExitWrapper {
		t.Errorf("exit code %d, want %d", code, cli.ExitWrapper)
	}
	if runs(pid) {
		t.Error("the command still runs")
	}
	if text, err := os.ReadFile(w.talk); err != nil || strings.Contains(string(text), "no longer registered") {
		t.Errorf("%v, it said %q of an instance that is registered, by another process", err, text)
	}
}

func TestASignalKillsACommandThatDoesNotEndWhenItCannotBeRegistered(t *testing.T) {
	t.Parallel()
	client, prefix := etcdtest.New(t)
	reg, err := registry.Register(t.Context(), client, registry.Instance{Service: "web", ID: "a", Addr: "127.0.0.1:8"}, &registry.Options{Prefix: prefix, TTL: 3 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer reg.Close()
	w := svcRegister(t, client, prefix, client.Endpoints(), "--kill-grace", "1h", "--", "sh", "-c", `trap 'echo term' TERM; trap 'echo usr1' USR1; echo $$; while :; do sleep 0.05; done`)
	pid := w.saidPID()
	if got := w.said(); got != "term" {
		t.Errorf("the command said %q", got)
	}
	w.signal(syscall.SIGUSR1)
	if got := w.said(); got != "usr1" {
		t.Errorf("the command said %q, want that other signals are passed on", got)
	}
	w.signal(syscall.SIGTERM)
	if code := ends(t, w.Cmd, time.Minute); code != cli.ExitWrapper {
		t.Errorf("exit code %d, want %d", code, cli.ExitWrapper)
	}
	if runs(pid) {
		t.Error("the command still runs")
	}
}

func TestAwaitRegistersWhatCanServe(t *testing.T) {
	t.Parallel()
	client, prefix := etcdtest.New(t)
	file := filepath.Join(t.TempDir(), "ready")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	for name, c := range map[string]struct {
		flags []string
		ready func() (io.Closer, error)
	}{
		"a check": {[]string{"--check-cmd", "test -e " + file + " || exit 2", "--check-interval", "100ms"}, func() (io.Closer, error) { return os.Create(file) }},
		"a port":  {[]string{"--addr", addr}, func() (io.Closer, error) { return net.Listen("tcp", addr) }},
	} {
		t.Run(name, func(t *testing.T) {
			w := svcRegister(t, client, prefix, client.Endpoints(), append(c.flags, "--await", "--", "sh", "-c", `echo $$; exec sleep 600`)...)
			w.saidPID()
			select {
			case resp := <-w.events:
				t.Errorf("registered before it can serve: %v", resp.Events)
			case <-time.After(500 * time.Millisecond):
			}
			opened, err := c.ready()
			if err != nil {
				t.Fatal(err)
			}
			defer opened.Close()
			w.next(registry.Passing)
			w.signal(syscall.SIGTERM)
			w.next("")
			ends(t, w.Cmd, time.Minute)
		})
	}
}

func TestWithoutACommandTheInstanceStaysUntilAnInterrupt(t *testing.T) {
	t.Parallel()
	client, prefix := etcdtest.New(t)
	w := svcRegister(t, client, prefix, client.Endpoints(), "--ttl", "60s", "--drain", "1ms")
	w.next(registry.Passing)
	w.signal(syscall.SIGINT)
	w.next(registry.Draining)
	w.next("")
	if code := ends(t, w.Cmd, time.Minute); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
}

// A server reads its configuration again at SIGHUP.
func TestOtherSignalsAreTheCommands(t *testing.T) {
	t.Parallel()
	client, prefix := etcdtest.New(t)
	w := svcRegister(t, client, prefix, client.Endpoints(), "--ttl", "60s", "--", "sh", "-c", `trap 'echo hup' HUP; echo $$; while :; do sleep 0.05; done`)
	w.saidPID()
	w.next(registry.Passing)
	w.signal(syscall.SIGHUP)
	if got := w.said(); got != "hup" {
		t.Errorf("the command said %q", got)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if resp, err := client.Get(ctx, fmt.Sprint(prefix, "web/a")); err != nil || len(resp.Kvs) != 1 || !strings.Contains(string(resp.Kvs[0].Value), "passing") {
		t.Errorf("after SIGHUP: %v, %v, want it registered", resp, err)
	}
	w.signal(syscall.SIGTERM)
	w.next("")
	ends(t, w.Cmd, time.Minute)
}

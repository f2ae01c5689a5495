package registry_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"

	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/internal/means"
	"github.com/etcdkit/etcdkit/registry"
)

// child is a process that has registered.
type child struct {
	*exec.Cmd
	took time.Duration
}

// startChild returns when the process has registered. Wrapped are the words before its command.
func startChild(t *testing.T, j childJob, wrapped ...string) *child {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	env, err := json.Marshal(j)
	if err != nil {
		t.Fatal(err)
	}
	args := append(slices.Clone(wrapped), exe)
	c := &child{Cmd: exec.Command(args[0], args[1:]...)}
	c.Env = append(os.Environ(), childEnv+"="+string(env))
	stdin, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		_ = c.Process.Kill()
		_ = c.Wait() // killed, it says; or it was waited for
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if n, err := fmt.Sscanf(line, "registered %d\n", &c.took); n != 1 {
		t.Fatalf("the process said %q, %v", line, err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// kill ends the process without a word.
func (c *child) kill(t *testing.T, reap bool) {
	t.Helper()
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if reap {
		_ = c.Wait() // killed, it says
		return
	}
	if err := unix.Waitid(unix.P_PID, c.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
}

// noGap fails if a key was deleted between two revisions.
func noGap(t *testing.T, cli *clientv3.Client, prefix string, from, to int64) {
	t.Helper()
	ctx, cancel := context.WithCancel(bounded(t))
	defer cancel()
	end, err := cli.Put(ctx, prefix+"end", "")
	if err != nil {
		t.Fatal(err)
	}
	for resp := range cli.Watch(ctx, prefix, clientv3.WithPrefix(), clientv3.WithRev(from)) {
		for _, ev := range resp.Events {
			if !isPut(ev) && ev.Kv.ModRevision <= to {
				t.Errorf("%s was deleted at revision %d, want no gap", ev.Kv.Key, ev.Kv.ModRevision)
			}
			if ev.Kv.ModRevision >= end.Header.Revision {
				return
			}
		}
	}
}

func TestAProcessThatWasKilledIsTakenOverAtOnceAndNoListHasAGap(t *testing.T) {
	ids := []string{"a"}
	for n := range 300 { // three transactions
		ids = append(ids, fmt.Sprint("i", n))
	}
	for name, tc := range map[string]struct {
		ids  []string
		reap bool
		exec bool
	}{
		"one key":   {ids: ids[:1], reap: true},
		"many keys": {ids: ids, reap: true},
		"its parent has not asked for its status": {ids: ids[:1]},
		"a program that has replaced itself":      {ids: ids[:1], reap: true, exec: true},
	} {
		t.Run(name, func(t *testing.T) {
			cli, prefix := etcdtest.New(t)
			j := childJob{Endpoints: cli.Endpoints(), Prefix: prefix, IDs: tc.ids, TTL: 2 * time.Minute, Exec: tc.exec}
			c := startChild(t, j)
			if tc.exec && c.took > 500*time.Millisecond && !means.Race {
				t.Errorf("after exec it was registered after %v, want 0.5 s", c.took)
			}
			key := prefix + "web/" + tc.ids[0]
			before := get(t, cli, key).Kvs[0]
			c.kill(t, tc.reap)

			var all []registry.Instance
			for _, id := range tc.ids {
				all = append(all, web(id))
			}
			log := make(lines, 10)
			r, err := registry.New(cli, &registry.Options{Prefix: prefix, Logger: slog.New(slog.NewTextHandler(log, nil))})
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			began := time.Now()
			regs, err := r.Register(bounded(t), all...)
			took := time.Since(began)
			t.Logf("registered after %v", took)
			if err != nil {
				t.Fatal(err)
			}
			if took > 500*time.Millisecond && !means.Race {
				t.Errorf("registered after %v, want 0.5 s", took)
			}
			noGap(t, cli, prefix, before.ModRevision, regs[len(regs)-1].State().Revision)
			if line := <-log; !strings.Contains(line, "taking over the key of a process that is gone") || !strings.Contains(line, fmt.Sprint("pid ", c.Process.Pid)) {
				t.Errorf("log: %s", line)
			}
			// The lease of the dead process takes nothing with it.
			if _, err := cli.Revoke(bounded(t), clientv3.LeaseID(before.Lease)); err != nil {
				t.Fatal(err)
			}
			if kvs := get(t, cli, key).Kvs; len(kvs) != 1 || kvs[0].Lease != int64(regs[0].State().Lease) {
				t.Errorf("when the old lease has ended: %v, want the key on the new one", kvs)
			}
		})
	}
}

func TestAPidThatIsUsedAgainIsNotTakenForTheOwner(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	c := startChild(t, childJob{Endpoints: cli.Endpoints(), Prefix: prefix, IDs: []string{"a"}, TTL: 2 * time.Minute})
	c.kill(t, true)
	another := exec.Command("sleep", "60")
	if err := another.Start(); err != nil {
		t.Fatal(err)
	}
	defer another.Wait()
	defer another.Process.Kill()
	// As if the other process had got the pid of the one that was killed.
	kv := get(t, cli, prefix+"web/a").Kvs[0]
	reused := strings.Replace(string(kv.Value), fmt.Sprintf(`"pid":%d`, c.Process.Pid), fmt.Sprintf(`"pid":%d`, another.Process.Pid), 1)
	if reused == string(kv.Value) {
		t.Fatalf("void: no pid in %s", kv.Value)
	}
	if _, err := cli.Put(bounded(t), string(kv.Key), reused, clientv3.WithLease(clientv3.LeaseID(kv.Lease))); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	register(t, cli, web("a"), &registry.Options{Prefix: prefix})
	if took := time.Since(began); took > 500*time.Millisecond && !means.Race {
		t.Errorf("registered after %v, want 0.5 s", took)
	}
}

// waitsFor registers an ID that another process has, until it says that it waits. It returns what it
// logged, and what it returned when its context was cancelled then.
func waitsFor(t *testing.T, cli *clientv3.Client, prefix, id string) (line string, err error) {
	t.Helper()
	log, result := make(lines, 10), make(chan error, 1)
	ctx, cancel := context.WithCancel(bounded(t))
	defer cancel()
	go func() { // ends with ctx
		_, err := registry.Register(ctx, cli, web(id), &registry.Options{Prefix: prefix, Logger: slog.New(slog.NewTextHandler(log, nil))})
		result <- err
	}()
	for !strings.Contains(line, "waiting for ") {
		select {
		case line = <-log:
		case err := <-result:
			t.Fatalf("got %v, and not a word about what it waits for", err)
		}
	}
	cancel()
	if err = <-result; !errors.Is(err, context.Canceled) || errors.Is(err, registry.ErrExists) {
		t.Fatalf("got %v, want Canceled and no ErrExists", err)
	}
	return line, err
}

// waits registers an ID that it cannot have before its owner's lease ends, and returns why.
func waits(t *testing.T, cli *clientv3.Client, prefix, id string) error {
	t.Helper()
	before := get(t, cli, prefix+"web/"+id).Kvs[0]
	line, err := waitsFor(t, cli, prefix, id)
	if kvs := get(t, cli, prefix+"web/"+id).Kvs; len(kvs) != 1 || kvs[0].ModRevision != before.ModRevision {
		t.Errorf("the owner's key: %v, want it untouched", kvs)
	}
	for _, said := range []string{line, err.Error()} {
		if !strings.Contains(said, "waiting for ") || !strings.Contains(said, "left") || !strings.Contains(said, fmt.Sprintf("%x", before.Lease)) {
			t.Errorf("it says %s, want what it waits for, and for how long", said)
		}
	}
	return err
}

func TestAProcessThatStandsStillIsNotTakenOver(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	c := startChild(t, childJob{Endpoints: cli.Endpoints(), Prefix: prefix, IDs: []string{"a"}, TTL: 2 * time.Minute})
	if err := c.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	err := waits(t, cli, prefix, "a")
	for _, want := range []string{fmt.Sprintf("pid %d on host ", c.Process.Pid), ", since 20", "it runs on this machine"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
}

func TestWhatIsNotProvenIsWaitedFor(t *testing.T) {
	cli, prefix := etcdtest.New(t)
	c := startChild(t, childJob{Endpoints: cli.Endpoints(), Prefix: prefix, IDs: []string{"a"}, TTL: 2 * time.Minute})
	c.kill(t, true)
	kv := get(t, cli, prefix+"web/a").Kvs[0]
	var v struct{ Process string }
	if err := json.Unmarshal(kv.Value, &v); err != nil || v.Process == "" {
		t.Fatalf("no process in %s: %v", kv.Value, err)
	}
	rest := v.Process[strings.IndexByte(v.Process, '.'):]
	for name, record := range map[string]string{
		"another machine": "AAAAAAAAAAAAAAAA" + rest,
		"no machine":      rest,
		"no start":        "AAAAAAAAAAAAAAAA.0.x.0",
		"garbage":         "\u001b[2J",
		"nothing":         "",
	} {
		t.Run(name, func(t *testing.T) {
			text, err := json.Marshal(record)
			if err != nil {
				t.Fatal(err)
			}
			changed := strings.Replace(string(kv.Value), fmt.Sprintf("%q", v.Process), string(text), 1)
			if _, err := cli.Put(bounded(t), string(kv.Key), changed, clientv3.WithLease(clientv3.LeaseID(kv.Lease))); err != nil {
				t.Fatal(err)
			}
			waits(t, cli, prefix, "a")
		})
	}
}

// namespaced runs a command as the first process of a pid namespace, on the same host.
func namespaced(t *testing.T) []string {
	t.Helper()
	words := []string{"unshare", "--pid", "--fork", "--kill-child", "--mount-proc"}
	if out, err := exec.Command(words[0], append(words[1:], "true")...).CombinedOutput(); err != nil {
		means.Missing(t, "no pid namespaces here: %v: %v: %s", words, err, out)
	}
	return words
}

// From here its pid means nothing: that there is no such process, or another one, proves nothing.
func TestAProcessInAnotherPidNamespaceIsNotTakenOver(t *testing.T) {
	words := namespaced(t)
	cli, prefix := etcdtest.New(t)
	startChild(t, childJob{Endpoints: cli.Endpoints(), Prefix: prefix, IDs: []string{"a"}, TTL: 2 * time.Minute}, words...)
	if err := waits(t, cli, prefix, "a"); !strings.Contains(err.Error(), "in another container") {
		t.Errorf("got %v, want why it is not proven", err)
	}
	// Nor that the pid is not in use here.
	kv := get(t, cli, prefix+"web/a").Kvs[0]
	unused := exec.Command("true")
	if err := unused.Run(); err != nil {
		t.Fatal(err)
	}
	i, err := registry.Decode(prefix, string(kv.Key), string(kv.Value))
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(kv.Value), fmt.Sprintf(`"pid":%d`, i.PID), fmt.Sprintf(`"pid":%d`, unused.Process.Pid), 1)
	if _, err := cli.Put(bounded(t), prefix+"web/b", changed, clientv3.WithLease(clientv3.LeaseID(kv.Lease))); err != nil {
		t.Fatal(err)
	}
	waits(t, cli, prefix, "b")
}

func TestInOnePidNamespaceAKilledProcessIsTakenOver(t *testing.T) {
	words := namespaced(t)
	cli, prefix := etcdtest.New(t)
	j := childJob{Endpoints: cli.Endpoints(), Prefix: prefix, IDs: []string{"a"}, TTL: 2 * time.Minute}
	// The first is killed by the shell as soon as its key is there; then the second one starts.
	script := `"$0" <&3 >first & read line <first; kill -9 $!; wait $! 2>/dev/null; exec "$0"`
	dir := t.TempDir()
	if err := unix.Mkfifo(dir+"/first", 0o600); err != nil {
		t.Fatal(err)
	}
	c := startChild(t, j, append(words, "sh", "-c", "cd "+dir+"; exec 3<&0; "+script)...)
	t.Logf("registered after %v", c.took)
	if c.took > 500*time.Millisecond && !means.Race {
		t.Errorf("registered after %v, want 0.5 s", c.took)
	}
	if kv := get(t, cli, prefix+"web/a").Kvs[0]; kv.Version != 2 {
		t.Errorf("the key has version %d, want 2: put by the first and, without a gap, by the second", kv.Version)
	}
}

// Another process can be quicker between the look and the take-over.
func TestATakeOverThatComesTooLateLeavesTheKeyAlone(t *testing.T) {
	shared, prefix := etcdtest.New(t)
	c := startChild(t, childJob{Endpoints: shared.Endpoints(), Prefix: prefix, IDs: []string{"a"}, TTL: 2 * time.Minute})
	c.kill(t, true)
	l, err := shared.Grant(bounded(t), 600)
	if err != nil {
		t.Fatal(err)
	}
	var n atomic.Int64
	cli, err := clientv3.New(clientv3.Config{
		Endpoints: shared.Endpoints(), Logger: zap.NewNop(),
		DialOptions: []grpc.DialOption{grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			if strings.HasSuffix(method, "/Txn") {
				if n.Add(1) == 2 { // the first has looked
					if _, err := shared.Put(ctx, prefix+"web/a", "10.0.0.9:80", clientv3.WithLease(l.ID)); err != nil {
						return err
					}
				}
			}
			return invoke(ctx, method, req, reply, cc, opts...)
		})},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer cli.Close()
	waitsFor(t, cli, prefix, "a") // as another process has the key
	if n.Load() < 2 {
		t.Fatal("void: there was no second transaction")
	}
	if kv := get(t, shared, prefix+"web/a").Kvs[0]; string(kv.Value) != "10.0.0.9:80" || kv.Lease != int64(l.ID) {
		t.Errorf("the key has %s, want what the other process wrote", kv.Value)
	}
}

// Fields that this version does not know are no part of the instance.
func TestAValueWithFieldsOfALaterVersionIsReadAsItIs(t *testing.T) {
	i := web("a")
	i.Host, i.PID, i.Zone, i.Tags = "vm", 7, "a", []string{"x"}
	val, err := i.Encode()
	if err != nil {
		t.Fatal(err)
	}
	want, err := registry.Decode("/services/", "/services/web/a", val)
	if err != nil {
		t.Fatal(err)
	}
	for _, more := range []string{`"Process":"AAAAAAAAAAAAAAAA.1.x.0"`, `"Process":7`, `"Later":{"x":1}`} {
		got, err := registry.Decode("/services/", "/services/web/a", strings.TrimSuffix(val, "}")+","+more+"}")
		if err != nil || fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
			t.Errorf("with %s: got %+v, %v, want %+v", more, got, err, want)
		}
	}
}

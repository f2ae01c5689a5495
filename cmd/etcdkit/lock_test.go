package main

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdkit/etcdkit/etcdtest"
	"github.com/etcdkit/etcdkit/lock"
)

// With upstream's command: the process that came first has the lock, and the other one waits.
func TestEtcdctlLockAndOursExcludeOneAnother(t *testing.T) {
	t.Parallel()
	cli, prefix := etcdtest.New(t)
	name := prefix + "lock"
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	m := lock.New(cli, name, nil)
	defer m.Close()

	theirs, key := startEtcdctlLock(t, cli, name)
	if got := <-key; !strings.HasPrefix(got, name+"/") {
		t.Fatalf("etcdctl lock says %q, want its key", got)
	}
	got := make(chan *lock.Hold, 1)
	go func() { // waited for below
		h, err := m.Acquire(ctx)
		if err != nil {
			t.Error(err)
		}
		got <- h
	}()
	entries(t, cli, name, 2)
	if err := theirs.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	h := <-got
	if h == nil {
		t.FailNow()
	}

	_, key = startEtcdctlLock(t, cli, name)
	entries(t, cli, name, 2)
	later := make(chan *lock.Hold, 1)
	other := lock.New(cli, name, nil)
	defer other.Close()
	go func() { // waited for below
		h, _ := other.Acquire(ctx) // ends with ctx
		later <- h
	}()
	entries(t, cli, name, 3)
	select {
	case k := <-key:
		t.Fatalf("etcdctl has it with %q while we hold it", k)
	default:
	}
	if err := h.Release(ctx); err != nil {
		t.Fatal(err)
	}
	if k := <-key; !strings.HasPrefix(k, name+"/") {
		t.Fatalf("etcdctl lock says %q", k)
	}
	select {
	case h := <-later:
		t.Fatalf("the process that came last has it, too: %v", h)
	default:
	}
	cancel()
	if h := <-later; h != nil {
		t.Error("it was acquired after its context had ended")
	}
}

// entries waits until so many are in the queue.
func entries(t testing.TB, cli *clientv3.Client, name string, want int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for last := int64(0); ; {
		resp, err := cli.Get(ctx, name+"/", clientv3.WithPrefix(), clientv3.WithCountOnly())
		if err != nil {
			t.Fatalf("there never were %d entries in the queue of %s, at last %d: %v", want, name, last, err)
		}
		if resp.Count == want {
			return
		}
		last = resp.Count
		<-time.After(2 * time.Millisecond)
	}
}

// startEtcdctlLock runs "etcdctl lock", which prints its key once it has the lock, until it is
// killed.
func startEtcdctlLock(t *testing.T, cli *clientv3.Client, name string) (*exec.Cmd, <-chan string) {
	t.Helper()
	cmd := etcdkit(t, shortDir(t), "ctl", "lock", name)
	cmd.Env = append(cmd.Env, "ETCDCTL_ENDPOINTS="+strings.Join(cli.Endpoints(), ","))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	key := make(chan string, 1)
	read := make(chan struct{})
	go func() { // ends with the command, and is waited for
		defer close(read)
		defer close(key)
		if lines := bufio.NewScanner(out); lines.Scan() {
			key <- lines.Text()
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		<-read
		_ = cmd.Wait() // killed, it says
	})
	return cmd, key
}

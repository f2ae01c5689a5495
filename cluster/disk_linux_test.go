package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"

	"github.com/etcdkit/etcdkit/cluster"
	"github.com/etcdkit/etcdkit/etcdtest"
)

// requireEnv, set by CI, makes a missing means a failure where it is else a reason to skip.
const requireEnv = "ETCDKIT_TEST_REQUIRE_ALL"

func missing(t *testing.T, what string, err error) {
	t.Helper()
	if os.Getenv(requireEnv) != "" {
		t.Fatalf("%s: %v", what, err)
	}
	t.Skipf("%s: %v", what, err)
}

// mount puts a tmpfs over dir for the test.
func mount(t *testing.T, dir string, flags uintptr, data string) {
	t.Helper()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", flags, data); err != nil {
		missing(t, "mounting a tmpfs", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
}

func TestAReadOnlyDirectoryIsNamed(t *testing.T) {
	dir := t.TempDir()
	if os.Getuid() == 0 { // to whom permissions do not apply
		mount(t, dir, syscall.MS_RDONLY, "")
	} else if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	_, err := cluster.Start(t.Context(), &cluster.Options{Members: 1, AnyPort: true, InProcess: true, DataDir: dir})
	if !errors.Is(err, cluster.ErrDataDir) || !strings.Contains(err.Error(), dir+" is not writable") {
		t.Errorf("got %v, want ErrDataDir that says that %s is not writable", err, dir)
	}
}

// Fault 27.
func TestAMemberWhoseDiskIsFullFailsWithAClearReasonAndTheOthersServe(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	disk := filepath.Join(dir, "etcd2")
	if err := os.MkdirAll(disk, 0o700); err != nil {
		t.Fatal(err)
	}
	mount(t, disk, 0, "size=160m") // etcd allocates two logs of 64 MB in advance
	var log records
	c := etcdtest.NewCluster(t, &cluster.Options{DataDir: dir, Logger: log.logger()})
	if c.Leader() != "etcd1" {
		did(t)(c.MoveLeader(t.Context(), "etcd1"))
	}
	cli := at(t, c, "etcd3")
	put(t, cli, "before", "x")

	fill(t, filepath.Join(disk, "filler"))
	value := strings.Repeat("v", 1<<20)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for i := 0; member(t, c, "etcd2").State == cluster.Running; i++ {
		if _, err := cli.Put(ctx, fmt.Sprintf("big/%d", i%8), value); err != nil {
			t.Fatalf("put %d while the disk of one member is full: %v", i, err)
		}
	}
	log.wait(t, "member ended: ")
	got := member(t, c, "etcd2")
	if got.State != cluster.Failed || !strings.Contains(got.Reason, "no space left on device") || !strings.Contains(got.Reason, disk) {
		t.Errorf("got %s, reason %q; want failed for want of space on %s", got.State, got.Reason, disk)
	}
	put(t, cli, "after", "x")

	if err := os.Remove(filepath.Join(disk, "filler")); err != nil {
		t.Fatal(err)
	}
	did(t)(c.Start(t.Context(), "etcd2"))
	resp, err := at(t, c, "etcd2").Get(ctx, "after")
	if err != nil || len(resp.Kvs) != 1 {
		t.Errorf("etcd2 after its disk has space again: %v, %v", resp, err)
	}
}

// fill writes until the disk is full.
func fill(t *testing.T, name string) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	block := make([]byte, 64<<10)
	for {
		if _, err := f.Write(block); err != nil {
			if !strings.Contains(err.Error(), "no space left") {
				t.Fatal(err)
			}
			return
		}
	}
}

// Fault 28. Every fsync of the leader takes half a second; a lock with a TTL of 5 s is kept
// through 10 s of it, and nobody else gets it.
func TestALockThatItsTTLCoversSurvivesSlowFsyncOnTheLeader(t *testing.T) {
	t.Parallel()
	strace, err := exec.LookPath("strace")
	if err != nil {
		missing(t, "slowing fsync", err)
	}
	c := etcdtest.NewCluster(t, nil)
	cli := etcdtest.Client(t, c)
	session, err := concurrency.NewSession(cli, concurrency.WithTTL(5))
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	lock := concurrency.NewMutex(session, "slow-fsync")
	if err := lock.Lock(t.Context()); err != nil {
		t.Fatal(err)
	}

	const delay = 500 * time.Millisecond
	leader := member(t, c, c.Leader())
	slow := exec.Command(strace, "-f", "-p", fmt.Sprint(leader.PID), "-o", os.DevNull, "-e", "trace=fdatasync,fsync",
		"-e", fmt.Sprintf("inject=fdatasync,fsync:delay_enter=%d", delay.Microseconds()))
	if err := slow.Start(); err != nil {
		missing(t, "slowing fsync", err)
	}
	t.Cleanup(func() {
		_ = slow.Process.Signal(syscall.SIGINT) // detaches
		_ = slow.Wait()
	})
	// A write through the leader takes as long as its fsync once strace has attached; a fault
	// that did not take effect makes the test void.
	eventually(t, 20*time.Second, "strace does not slow fsync", func() bool { return timedPut(t, cli) >= delay })

	rival, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	other, err := concurrency.NewSession(cli, concurrency.WithTTL(60))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := concurrency.NewMutex(other, "slow-fsync").Lock(rival); err == nil {
		t.Error("a rival got the lock while its holder was alive")
	}
	select {
	case <-session.Done():
		t.Error("the holder's session ended")
	default:
	}
	resp, err := cli.Txn(t.Context()).If(lock.IsOwner()).Then(clientv3.OpPut("fenced", "x")).Commit()
	if err != nil || !resp.Succeeded {
		t.Errorf("guarded write of the holder: %v, %v, want success", resp, err)
	}
}

func timedPut(t *testing.T, cli *clientv3.Client) time.Duration {
	t.Helper()
	begin := time.Now()
	put(t, cli, "paced", "x")
	return time.Since(begin)
}
